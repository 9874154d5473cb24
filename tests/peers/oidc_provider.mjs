// An OpenID provider that this project did not write: npm oidc-provider, on this machine alone.
//
//     oidc_provider.mjs [PORT]
//
// It reads lines from standard input and ends with it. The first line is its configuration, a JSON
// object, empty for none:
//
//     redirect_uris, post_logout_redirect_uris    of the clients; loopback ones on port 8080
//     algorithms                                  that it has keys for, of ES256, RS256, PS256, EdDSA
//     id_token_alg                                that it signs ID tokens with, ES256
//     mtls                                        `cert`, `key` and `ca`, names of files: it listens
//                                                 for certificates of that authority too, and says
//                                                 where in its `mtls_endpoint_aliases`
//
// It answers with one line, its URL. Then "rotate" replaces every key by a new one of another name,
// which is answered with "rotated".
//
// The client "web" has the secret "web-secret", the client "app" has none; both use PKCE. Each of
// "es256", "rs256", "ps256" and "eddsa" below https://orders.example/ is a resource, named "orders"
// in `aud` as others are by the first part of their host, whose tokens are signed so; those of "opaque" are not signed and have to be asked about,
// at introspection, by the client "orders" with the secret "orders-secret" or by whom they were issued
// to. With `mtls` the clients "cart" and "batch" prove themselves by a certificate for
// spiffe://example.org/ns/shop/sa/<name>, and their tokens are bound to it. A token that was asked for
// with a DPoP proof is bound to the key of that. The client "orders" may exchange the tokens of users
// that are not signed (RFC 8693). Anyone but "nobody" signs in by typing a name. Where `acr`
// urn:example:mfa is asked for, so is a code, and any will do.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { createInterface } from 'node:readline';
import { exportJWK, generateKeyPair } from 'jose';

// Standard output is for answers; what the provider warns of is right for a test.
console.log = console.info = console.warn = console.error;
const { Provider, errors, interactionPolicy } = await import('oidc-provider');
const { default: validateDpop, checkDpopReplay } = await import('./node_modules/oidc-provider/lib/helpers/validate_dpop.js');

const ALGORITHMS = ['ES256', 'RS256', 'PS256', 'EdDSA'];
const MFA = 'urn:example:mfa';
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
let generation = 0;

async function key(alg) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true, crv: alg === 'EdDSA' ? 'Ed25519' : undefined });
  return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: `${alg.toLowerCase()}-${generation}` };
}

function policy() {
  const policy = interactionPolicy.base();
  const { Check } = interactionPolicy;
  policy.get('login').checks.add(new Check('acr_not_met', 'another way to sign in is asked for', ({ oidc }) => {
    const asked = oidc.params.acr_values?.split(' ');
    return asked && !asked.includes(oidc.session.acr) ? Check.REQUEST_PROMPT : Check.NO_NEED_TO_PROMPT;
  }));
  return policy;
}

// What this provider has to be told about the certificates of its clients.
const certificates = {
  enabled: true,
  tlsClientAuth: true,
  certificateBoundAccessTokens: true,
  getCertificate: (ctx) => ctx.socket.getPeerX509Certificate?.()?.toString(),
  certificateAuthorized: (ctx) => ctx.socket.authorized === true,
  certificateSubjectMatches: (ctx, property, expected) => property === 'tls_client_auth_san_uri'
    && ctx.socket.getPeerX509Certificate().subjectAltName.split(', ').includes(`URI:${expected}`),
};

const bound = (name) => ({
  client_id: name,
  token_endpoint_auth_method: 'tls_client_auth',
  tls_client_auth_san_uri: `spiffe://example.org/ns/shop/sa/${name}`,
  tls_client_certificate_bound_access_tokens: true,
  grant_types: ['client_credentials'],
  response_types: [],
  redirect_uris: [],
});

const resourceServer = (_, resource) => ({
  audience: new URL(resource).hostname.split('.')[0],
  scope: 'orders:read',
  accessTokenFormat: resource.endsWith('/opaque') ? 'opaque' : 'jwt',
  accessTokenTTL: 600,
  jwt: resource.endsWith('/opaque') ? undefined : { sign: { alg: ALGORITHMS.find((alg) => resource.endsWith(`/${alg.toLowerCase()}`)) } },
});

// The exchange of a user's token, which this provider leaves to whoever runs it.
async function exchange(ctx) {
  const { client, params, provider } = ctx.oidc;
  const { AccessToken, ResourceServer } = provider;
  const subject = await AccessToken.find(params.subject_token ?? '');
  if (!subject?.isValid || params.subject_token_type !== ACCESS_TOKEN) throw new errors.InvalidGrant('no token of a user');
  if (typeof params.resource !== 'string') throw new errors.InvalidTarget('one resource has to be named');
  const proof = await validateDpop(provider, ctx);
  await checkDpopReplay(provider, ctx, proof, client.clientId);
  const token = new AccessToken({ accountId: subject.accountId, client, grantId: subject.grantId, gty: 'token_exchange', scope: params.scope });
  token.resourceServer = new ResourceServer(params.resource, resourceServer(ctx, params.resource));
  if (proof) token.setThumbprint('jkt', proof.thumbprint);
  ctx.body = {
    access_token: await token.save(),
    issued_token_type: ACCESS_TOKEN,
    token_type: token.tokenType,
    expires_in: token.expiration,
    scope: token.scope,
  };
}

async function start(issuer, options, mtls) {
  generation += 1;
  const uris = {
    redirect_uris: options.redirect_uris ?? ['http://127.0.0.1:8080/signed-in'],
    post_logout_redirect_uris: options.post_logout_redirect_uris ?? ['http://127.0.0.1:8080/signed-out'],
  };
  const client = {
    grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
    response_types: ['code'],
    id_token_signed_response_alg: options.id_token_alg ?? 'ES256',
    ...uris,
  };
  const provider = new Provider(issuer, {
    jwks: { keys: await Promise.all((options.algorithms ?? ALGORITHMS).map(key)) },
    clients: [
      { ...client, client_id: 'web', client_secret: 'web-secret' },
      { ...client, client_id: 'other', client_secret: 'other-secret' },
      { ...client, client_id: 'app', token_endpoint_auth_method: 'none', grant_types: ['authorization_code', 'refresh_token'] },
      { client_id: 'orders', client_secret: 'orders-secret', grant_types: ['client_credentials', EXCHANGE], response_types: [], redirect_uris: [] },
      ...(mtls ? ['cart', 'batch'].map(bound) : []),
    ],
    discovery: mtls ? { mtls_endpoint_aliases: { token_endpoint: `${mtls}/token` } } : {},
    cookies: { keys: [crypto.randomUUID()] },
    acrValues: [MFA],
    scopes: ['openid', 'offline_access', 'orders:read'],
    claims: { openid: ['sub'], email: ['email', 'email_verified'] },
    conformIdTokenClaims: false,
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'none', ...(mtls ? ['tls_client_auth'] : [])],
    enabledJWA: { idTokenSigningAlgValues: options.algorithms ?? ALGORITHMS },
    pkce: { required: () => true },
    interactions: { policy: policy(), url: (_, { uid }) => `/interaction/${uid}` },
    rotateRefreshToken: true,
    issueRefreshToken: (_, client) => client.grantTypeAllowed('refresh_token'),
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: true }),
    }),
    // Everybody consents to everything.
    loadExistingGrant: async (ctx) => {
      const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
      grant.addOIDCScope('openid email offline_access orders:read');
      for (const resource of [].concat(ctx.oidc.params.resource ?? [])) grant.addResourceScope(resource, 'orders:read');
      await grant.save();
      return grant;
    },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      dPoP: { enabled: true },
      introspection: {
        enabled: true,
        allowedPolicy: (_, client, token) => client.clientId === 'orders' || client.clientId === token.clientId,
      },
      revocation: { enabled: true },
      mTLS: mtls ? certificates : { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: resourceServer,
      },
      rpInitiatedLogout: {
        enabled: true,
        // The page asks; the form of oidc-provider answers when its button is pressed.
        logoutSource: (ctx, form) => {
          ctx.body = page('Sign out', `<p>Sign out at this provider too?</p>${form}<button form="op.logoutForm" name="logout" value="yes">Sign out</button>`);
        },
      },
    },
  });
  provider.registerGrantType(EXCHANGE, exchange, ['subject_token', 'subject_token_type', 'requested_token_type', 'resource', 'audience', 'scope'], ['resource', 'audience']);
  const callback = provider.callback();
  return (request, response) => (request.url.startsWith('/interaction/')
    ? interaction(provider, request, response).catch((error) => response.writeHead(400).end(`${error}`))
    : callback(request, response));
}

const page = (title, body) => `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title>
<style>body{font:16px/1.5 sans-serif;max-width:22rem;margin:12vh auto;padding:0 1rem;color:#222}
input{display:block;width:100%;box-sizing:border-box;font:inherit;padding:.4rem;margin:.2rem 0 1rem}
button{font:inherit;padding:.4rem 1rem}</style><h1>${title}</h1>${body}`;

async function interaction(provider, request, response) {
  const { params, session } = await provider.interactionDetails(request, response);
  const mfa = params.acr_values?.split(' ').includes(MFA);
  if (request.method !== 'POST') {
    const known = session?.accountId ?? params.login_hint ?? '';
    response.setHeader('content-type', 'text/html');
    response.end(page('Example provider', `<form method="post"><label>Your name<input name="login" required value="${known.replace(/[^\w.-]/g, '')}"></label>
${mfa ? '<label>A code (any)<input name="code" required inputmode="numeric"></label>' : ''}<button>Continue</button></form>`));
    return;
  }
  let body = '';
  for await (const chunk of request) body += chunk;
  const form = new URLSearchParams(body);
  if (form.get('login') === 'nobody') {
    await provider.interactionFinished(request, response, { error: 'access_denied', error_description: 'nobody signs in' });
    return;
  }
  await provider.interactionFinished(request, response, {
    login: mfa && form.get('code')
      ? { accountId: form.get('login'), amr: ['pwd', 'otp'], acr: MFA }
      : { accountId: form.get('login'), amr: ['pwd'] },
  });
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const options = JSON.parse((await lines.next()).value || '{}');
let handler;
const server = createServer((request, response) => handler(request, response));

async function listenForCertificates({ cert, key, ca }) {
  const files = { cert: readFileSync(cert), key: readFileSync(key), ca: readFileSync(ca) };
  // Whom it does not know it lets in, to tell them so.
  const server = createTlsServer({ ...files, requestCert: true, rejectUnauthorized: false }, (request, response) => handler(request, response));
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  return `https://localhost:${server.address().port}`;
}

server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', async () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const mtls = options.mtls && await listenForCertificates(options.mtls);
  handler = await start(issuer, options, mtls);
  process.stdout.write(`${issuer}\n`);
  for await (const line of lines) {
    if (line === 'rotate') {
      handler = await start(issuer, options, mtls);
      process.stdout.write('rotated\n');
    }
  }
  process.exit();
});
