// An issuer of access tokens that this project did not write: npm jose.
//
// Claims on standard input; on standard output the public keys as JWK set, and tokens by name: a
// good one for each algorithm, named by it, and bad ones, named by what is bad.

import { CompactSign, exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';

let input = '';
for await (const chunk of process.stdin) input += chunk;
const claims = JSON.parse(input);

const ALGORITHMS = ['ES256', 'ES384', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'EdDSA', 'Ed25519'];
const keys = [];
const tokens = {};
const pairs = {};
const sign = (key, header, changes = {}) => new SignJWT({ ...claims, ...changes })
  .setProtectedHeader({ typ: 'at+jwt', ...header }).sign(key);

for (const alg of ALGORITHMS) {
  const pair = await generateKeyPair(alg, { extractable: true });
  pairs[alg] = pair;
  keys.push({ ...(await exportJWK(pair.publicKey)), kid: alg, alg, use: 'sig' });
  tokens[alg] = await sign(pair.privateKey, { alg, kid: alg });
}

const { privateKey } = pairs.ES256;
const header = { alg: 'ES256', kid: 'ES256' };
const stranger = await generateKeyPair('ES256');
const secret = new TextEncoder().encode(JSON.stringify(keys[0]));
const compact = (header, bytes) => new CompactSign(bytes).setProtectedHeader(header).sign(privateKey);
const bad = {
  'signed by a stranger': await sign(stranger.privateKey, header),
  'signed with the public key as a secret': await sign(secret, { ...header, alg: 'HS256' }),
  'not signed': new UnsecuredJWT(claims).encode(),
  'without a key ID': await sign(privateKey, { alg: 'ES256' }),
  'of another key ID': await sign(privateKey, { ...header, kid: 'RS256' }),
  'of an unknown key ID': await sign(privateKey, { ...header, kid: 'unknown' }),
  'of another type': await sign(privateKey, { ...header, typ: 'JWT' }),
  'for another audience': await sign(privateKey, header, { aud: 'bills' }),
  'of another issuer': await sign(privateKey, header, { iss: 'https://evil.example' }),
  'without a subject': await sign(privateKey, header, { sub: undefined }),
  'expired': await sign(privateKey, header, { exp: claims.iat - 3600 }),
  'not yet valid': await sign(privateKey, header, { nbf: claims.exp + 3600 }),
  'with a member twice': await compact({ typ: 'at+jwt', ...header }, new TextEncoder().encode(`{"sub":"eve",${JSON.stringify(claims).slice(1)}`)),
  'with a payload that is not JSON': await compact({ typ: 'at+jwt', ...header }, new TextEncoder().encode('alice')),
};
const [protectedHeader, payload, signature] = tokens.RS256.split('.');
const other = Buffer.from(JSON.stringify({ typ: 'at+jwt', alg: 'PS256', kid: 'RS256' })).toString('base64url');
bad['with its algorithm exchanged'] = `${other}.${payload}.${signature}`;
bad['cut'] = `${protectedHeader}.${payload}.${signature.slice(0, -2)}`;

process.stdout.write(JSON.stringify({ jwks: { keys }, good: tokens, bad }));
