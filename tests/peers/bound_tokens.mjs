// Clients of bound tokens that this project did not write: npm oauth4webapi, and npm jose with proofs
// and requests made by hand.
//
// On standard input a JSON object: `issuer`, the URL of oidc_provider.mjs; `service`, the URL of a
// service with the routes /dpop, /certificate and /bearer for tokens that are signed, and below /opaque
// for those that are not; `ca`, and for each of `cart` and `batch`
// its `cert` and `key`, names of files. On standard output a JSON array of all requests to the service
// in their order, each with `client`, `what` (also in the query, as `case`), `status`, `challenge` and
// `nonce` (whether a new one was handed out).

import { createHash, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Agent, request as httpsRequest } from 'node:https';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import * as oauth from 'oauth4webapi';

let input = '';
for await (const chunk of process.stdin) input += chunk;
const options = JSON.parse(input);
const INSECURE = { [oauth.allowInsecureRequests]: true };
const ATTACKS = {
  'for another path': { payload: (p) => { p.htu += '/other'; } },
  'for another host': { payload: (p) => { p.htu = 'https://evil.example/dpop'; } },
  'for another scheme': { payload: (p) => { p.htu = p.htu.replace('https:', 'http:'); } },
  'for another method': { payload: (p) => { p.htm = 'POST'; } },
  'sent with another method': { payload: (p) => { p.htm = 'GET'; }, method: 'POST' },
  'too old': { payload: (p) => { p.iat -= 3600; } },
  'from the future': { payload: (p) => { p.iat += 3600; } },
  'without ath': { payload: (p) => { delete p.ath; } },
  'with the ath of another token': { payload: (p) => { p.ath = sha256('another'); } },
  'without jti': { payload: (p) => { delete p.jti; } },
  'without a nonce': { payload: (p) => { delete p.nonce; } },
  'with a nonce of nobody': { payload: (p) => { p.nonce = 'AAAAAAAAAAAAAAAAAAAAAA'; } },
  'without a proof': { headers: (h) => { delete h.dpop; } },
  'with the proof twice': { headers: (h) => { h.dpop = [h.dpop, h.dpop]; } },
  'with a second proof': { headers: (h) => { h.dpop = [h.dpop, 'a.b.c']; } },
  'with two proofs in one header': { headers: (h) => { h.dpop = `${h.dpop}, ${h.dpop}`; } },
  'with the token twice': { headers: (h) => { h.authorization = [h.authorization, h.authorization]; } },
  'with a second authorization': { headers: (h) => { h.authorization = [h.authorization, 'Basic YTpi']; } },
  'as bearer': { headers: (h) => { h.authorization = h.authorization.replace('DPoP ', 'Bearer '); } },
  'without a token': { headers: (h) => { delete h.authorization; } },
};

const results = [];
// The last nonce that the service handed out.
let nonce;
const sha256 = (text) => createHash('sha256').update(text).digest('base64url');
const agent = (files) => new Agent({
  ca: readFileSync(options.ca),
  ...(files && { cert: readFileSync(files.cert), key: readFileSync(files.key) }),
});
const [cart, batch, stranger] = [agent(options.cart), agent(options.batch), agent()];

// What `fetch` would do, with the certificate of an agent, and with headers that occur twice.
const over = (agent) => (url, { method, headers, body }) => new Promise((resolve, reject) => {
  const request = httpsRequest(url, { agent, method, headers }, async (response) => {
    const chunks = [];
    for await (const chunk of response) chunks.push(chunk);
    resolve(new Response(Buffer.concat(chunks), { status: response.statusCode, headers: response.headers }));
  });
  request.on('error', reject);
  request.end(body?.toString());
});

// As `over`, to the service, noting down what came back.
const noting = (client, what, agent, change) => async (url, init) => {
  change?.(init.headers);
  let response;
  try {
    response = await over(agent)(url, init);
  } catch (error) {
    results.push({ client, what, status: 0, error: error.code ?? `${error}` });
    throw error;
  }
  const handedOut = response.headers.get('dpop-nonce');
  nonce = handedOut ?? nonce;
  results.push({
    client, what, status: response.status, challenge: response.headers.get('www-authenticate'), nonce: handedOut !== null,
  });
  return response;
};

const to = (route, what) => new URL(`${options.service}/${route}?case=${encodeURIComponent(what)}`);

const issuer = new URL(options.issuer);
const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, INSECURE));
const web = { client_id: 'web' };
const SIGNED = { name: 'signed', path: '', resource: 'https://orders.example/es256' };
const OPAQUE = { name: 'opaque', path: 'opaque/', resource: 'https://orders.example/opaque' };
const parameters = ({ resource }) => ({ scope: 'orders:read', resource });

async function grant(kind, client, authentication, options) {
  const response = await oauth.clientCredentialsGrantRequest(server, client, authentication, parameters(kind), { ...INSECURE, ...options });
  return oauth.processClientCredentialsResponse(server, client, response);
}

// npm oauth4webapi, from its token to its request.
async function withOauth4webapi(alg, kind) {
  const client = `oauth4webapi ${alg} ${kind.name}`;
  let payload;
  const modify = { [oauth.modifyAssertion]: (_, claims) => payload?.(claims) };
  const DPoP = oauth.DPoP(web, await oauth.generateKeyPair(alg), modify);
  const { access_token: token, token_type: type } = await grant(kind, web, oauth.ClientSecretBasic('web-secret'), { DPoP });
  if (type !== 'dpop') throw new Error(`a token of type ${type}`);

  async function attempt(what, { method = 'GET', headers, route = 'dpop', by = DPoP, agent = cart, ...attack } = {}) {
    payload = attack.payload;
    const fetch = noting(client, what, agent, headers);
    try {
      await oauth.protectedResourceRequest(token, method, to(kind.path + route, what), undefined, undefined, { DPoP: by, [oauth.customFetch]: fetch });
      return undefined;
    } catch (error) {
      return error;
    }
  }

  const refused = await attempt('before there is a nonce');
  if (!oauth.isDPoPNonceError(refused)) throw new Error(`not asked for a nonce: ${refused}`);
  await attempt('with the nonce');
  await attempt('once more');
  await attempt('with POST', { method: 'POST' });
  await attempt('over another connection', { agent: batch });
  let sent;
  await attempt('to be replayed', { headers: (h) => { sent = { ...h }; } });
  await attempt('replayed', { headers: (h) => Object.assign(h, sent) });
  for (const [what, attack] of Object.entries(ATTACKS)) await attempt(what, attack);
  const thief = oauth.DPoP(web, await oauth.generateKeyPair(alg), modify);
  await attempt('by another key', { by: thief, payload: (p) => { p.nonce = nonce; } });
  await attempt('where a certificate is wanted', { route: 'certificate' });
  await attempt('where bearers are believed', { route: 'bearer' });
  await attempt('as bearer where bearers are believed', { route: 'bearer', by: null });
  await attempt('after all that');
  return token;
}

// npm jose: proofs and requests by hand.
async function withJose(alg, kind) {
  const client = `jose ${alg} ${kind.name}`;
  const [pair, thief] = [await generateKeyPair(alg, { extractable: true }), await generateKeyPair(alg, { extractable: true })];
  const [jwk, privateJwk, thiefsJwk] = await Promise.all([pair.publicKey, pair.privateKey, thief.publicKey].map((key) => exportJWK(key)));
  const fresh = () => ({ iat: Math.floor(Date.now() / 1000), jti: randomUUID() });
  const sign = (claims, header, key = pair.privateKey) => new SignJWT(claims)
    .setProtectedHeader({ typ: 'dpop+jwt', alg, jwk, ...header }).sign(key);

  const answer = await fetch(server.token_endpoint, {
    method: 'POST',
    headers: {
      authorization: `Basic ${btoa('web:web-secret')}`,
      dpop: await sign({ ...fresh(), htm: 'POST', htu: server.token_endpoint }),
    },
    body: new URLSearchParams({ grant_type: 'client_credentials', ...parameters(kind) }),
  });
  const { access_token: token, token_type: type } = await answer.json();
  if (type !== 'DPoP') throw new Error(`a token of type ${type}`);

  async function attempt(what, { method = 'GET', payload, header, key, headers } = {}) {
    const claims = { ...fresh(), htm: method, htu: `${options.service}/${kind.path}dpop`, ath: sha256(token), nonce };
    payload?.(claims);
    const sent = { authorization: `DPoP ${token}`, dpop: await sign(claims, header, key) };
    await noting(client, what, cart, headers)(to(`${kind.path}dpop`, what), { method, headers: sent });
    return sent;
  }

  nonce = undefined;
  await attempt('before there is a nonce');
  await attempt('with the nonce');
  await attempt('with POST', { method: 'POST' });
  const { dpop } = await attempt('to be replayed');
  await attempt('replayed', { headers: (h) => { h.dpop = dpop; } });
  for (const [what, attack] of Object.entries(ATTACKS)) await attempt(what, attack);
  await attempt('by another key', { header: { jwk: thiefsJwk }, key: thief.privateKey });
  await attempt('by another key that claims to be this one', { key: thief.privateKey });
  await attempt('with its private key', { header: { jwk: privateJwk } });
  await attempt('without its key', { header: { jwk: undefined } });
  await attempt('as a token of another kind', { header: { typ: 'JWT' } });
  await attempt('with a secret', { header: { alg: 'HS256' }, key: new TextEncoder().encode(JSON.stringify(jwk)) });
  await attempt('after all that');
}

// Tokens that are bound to a certificate, and one that is bound to nothing.
async function withCertificates(boundToKey, kind) {
  const client = `certificates ${kind.name}`;
  const tokenOf = async (name, agent) => (await grant(kind, { client_id: name, use_mtls_endpoint_aliases: true }, oauth.TlsClientAuth(), { [oauth.customFetch]: over(agent) })).access_token;
  const [ofCart, ofBatch] = [await tokenOf('cart', cart), await tokenOf('batch', batch)];
  // The provider asks for the certificate of the client that it is to be bound to.
  const impostor = await tokenOf('cart', batch).catch((error) => error);
  if (!(impostor instanceof Error)) throw new Error('the provider took one client for another');
  const { access_token: unbound } = await grant(kind, web, oauth.ClientSecretBasic('web-secret'));

  async function attempt(what, token, route, agent, DPoP) {
    const fetch = noting(client, what, agent);
    return oauth.protectedResourceRequest(token, 'GET', to(kind.path + route, what), undefined, undefined, { DPoP, [oauth.customFetch]: fetch }).catch((error) => error);
  }
  const modify = { [oauth.modifyAssertion]: (_, claims) => { claims.nonce = nonce; } };
  const DPoP = oauth.DPoP(web, await oauth.generateKeyPair('ES256'), modify);
  await attempt('of cart over its connection', ofCart, 'certificate', cart);
  await attempt('of batch over its connection', ofBatch, 'certificate', batch);
  await attempt('of cart over another connection', ofCart, 'certificate', batch);
  await attempt('of batch over another connection', ofBatch, 'certificate', cart);
  await attempt('of cart over no proven connection', ofCart, 'certificate', stranger);
  await attempt('of cart with a proof', ofCart, 'certificate', cart, DPoP);
  await attempt('of cart where proofs are wanted', ofCart, 'dpop', cart, DPoP);
  await attempt('of cart where bearers are believed', ofCart, 'bearer', cart);
  await attempt('of a key where a certificate is wanted', boundToKey, 'certificate', cart);
  await attempt('of nobody where bearers are believed', unbound, 'bearer', cart);
  await attempt('of nobody where a certificate is wanted', unbound, 'certificate', cart);
  await attempt('of nobody where proofs are wanted', unbound, 'dpop', cart, DPoP);
}

await withOauth4webapi('EdDSA', SIGNED);
await withJose('ES256', SIGNED);
await withJose('EdDSA', OPAQUE);
for (const kind of [SIGNED, OPAQUE]) await withCertificates(await withOauth4webapi('ES256', kind), kind);
process.stdout.write(JSON.stringify(results));
process.exit();
