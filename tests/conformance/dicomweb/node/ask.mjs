// Runs dicomweb-client against the server that the first argument names, and prints what it got as JSON.
// The second argument is a folder with DICOM files to store first.
import { createRequire } from "node:module";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const require = createRequire(import.meta.url);
globalThis.XMLHttpRequest = require("xhr2");
globalThis.window = globalThis;
const { api } = require("dicomweb-client");

const [url, folder, study, series, instance] = process.argv.slice(2);
const client = new api.DICOMwebClient({ url });
const one = { studyInstanceUID: study, seriesInstanceUID: series, sopInstanceUID: instance };
const sha256 = (buffer) => createHash("sha256").update(Buffer.from(buffer)).digest("hex");
const exact = (file) => file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength);

const datasets = readdirSync(folder).sort().map((name) => exact(readFileSync(join(folder, name))));
await client.storeInstances({ datasets });
const metadata = await client.retrieveSeriesMetadata(one);
const bulk = await client.retrieveBulkData({ BulkDataURI: metadata[0]["7FE00010"].BulkDataURI });
const frames = await client.retrieveInstanceFrames({ ...one, frameNumbers: [1] });
const picture = await client.retrieveInstanceRendered(one);
const files = await client.retrieveSeries(one);

console.log(JSON.stringify({
  studies: await client.searchForStudies({ queryParams: { PatientID: "P1" } }),
  nothing: await client.searchForStudies({ queryParams: { PatientID: "nobody" } }),
  series: await client.searchForSeries({ studyInstanceUID: study }),
  instances: await client.searchForInstances(one),
  metadata: metadata.length,
  bulk: bulk.map(sha256),
  frames: frames.map(sha256),
  files: files.map(sha256),
  file: sha256(await client.retrieveInstance(one)),
  picture: Buffer.from(picture[0]).subarray(0, 2).toString("hex"),
}));
