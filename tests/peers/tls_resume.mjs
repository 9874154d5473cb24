// A TLS client that keeps what lets it resume, and tries.
//
// Arguments: port, version, and the files of its certificate, key and bundle. For each of three
// connections it prints `full` or `resumed`, and how many sessions it was given so far.
import { readFileSync } from 'node:fs';
import { connect } from 'node:tls';

const [port, version, cert, key, ca] = process.argv.slice(2);
const options = {
  port: Number(port), host: '127.0.0.1', servername: 'localhost',
  minVersion: version, maxVersion: version,
  cert: readFileSync(cert), key: readFileSync(key), ca: readFileSync(ca),
};

let session;
let given = 0;

function visit() {
  return new Promise((resolve, reject) => {
    const socket = connect({ ...options, session }, () => {
      socket.write('GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n');
    });
    socket.on('session', (ticket) => { given += 1; session = ticket; });
    socket.once('data', () => {
      const kept = socket.getSession();
      if (version === 'TLSv1.2' && kept !== undefined) session = kept;
      const kind = socket.isSessionReused() ? 'resumed' : 'full';
      socket.end();
      socket.resume();
      socket.once('close', () => resolve(kind));
    });
    socket.once('error', reject);
  });
}

for (let n = 0; n < 3; n += 1) {
  const kind = await visit();
  console.log(`${kind} ${given}`);
}
