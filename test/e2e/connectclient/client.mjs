// Signs somebody in with the client that protoc-gen-es generates (gen/), over the
// protocol and to the server that the arguments name. It prints what the person
// has to do, and at the end a line of JSON.
import { createClient, ConnectError, Code } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { AuthService, ErrorInfoSchema, Reason } from "./gen/atoll/auth/v1/auth_pb.js";

const [protocol, baseUrl, identifier] = process.argv.slice(2);
const transport = {
  connect: () => createConnectTransport({ baseUrl, httpVersion: "1.1" }),
  grpc: () => createGrpcTransport({ baseUrl }),
  "grpc-web": () => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
}[protocol]();
const auth = createClient(AuthService, transport);

const { loginId, secret, browserUrl, userCode } = await auth.initiateLogin({ identifier, appName: "Node client" });
console.log(JSON.stringify({ browserUrl, userCode }));
let session;
for await (const { event } of auth.awaitLogin({ loginId, secret })) {
  if (event.case === "done") session = event.value;
}
await auth.acknowledgeLogin({ loginId, secret });
const reasons = [];
const refused = async (call) => {
  try {
    await call();
    reasons.push("none");
  } catch (e) {
    const [info] = ConnectError.from(e).findDetails(ErrorInfoSchema);
    reasons.push(Code[ConnectError.from(e).code] + " " + (info ? Reason[info.reason] : "?"));
  }
};
await refused(async () => { for await (const _ of auth.awaitLogin({ loginId, secret })); });
const next = (await auth.refreshSession({ refreshSecret: session.refreshSecret })).session;
const headers = { authorization: `Bearer ${next.accessToken}` };
const listed = (await auth.listSessions({}, { headers })).sessions.length;
await auth.revokeSession({}, { headers });
await refused(() => auth.listSessions({}, { headers }));
console.log(JSON.stringify({ did: session.did, handle: session.handle, listed, reasons }));
