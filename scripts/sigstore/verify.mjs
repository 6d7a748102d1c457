// Verifies one sigstore bundle with a public key, as a stranger would: verify.mjs PEM BUNDLE DIGEST
// Exit status 0 and "verified" if @sigstore/verify accepts it and its statement is about DIGEST (hex); 1 and why if not.
import { readFileSync } from 'node:fs';
import { createPublicKey } from 'node:crypto';
import { bundleFromJSON } from '@sigstore/bundle';
import { Verifier, toSignedEntity, toTrustMaterial } from '@sigstore/verify';

const [pem, file, digest] = process.argv.slice(2);
try {
  const bundle = bundleFromJSON(JSON.parse(readFileSync(file, 'utf8')));
  const publicKey = createPublicKey(readFileSync(pem));
  const always = { publicKey, validFor: () => true };
  const trust = toTrustMaterial({ certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] }, () => always);
  // Keys need neither a transparency log nor a time stamp.
  const verifier = new Verifier(trust, { ctlogThreshold: 0, tlogThreshold: 0, tsaThreshold: 0 });
  verifier.verify(toSignedEntity(bundle));
  const statement = JSON.parse(bundle.content.dsseEnvelope.payload.toString('utf8'));
  const subjects = statement.subject.map((subject) => subject.digest.sha256);
  if (!subjects.includes(digest)) throw new Error(`SUBJECT: it is about ${subjects}`);
  console.log('verified');
} catch (error) {
  console.log(`${error.code ?? error.name}: ${error.message}`);
  process.exit(1);
}
