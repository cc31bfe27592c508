// An OpenID provider for the tests: the certified `oidc-provider`, with people who sign in by their name and any password.
// It listens on a port of its own choice, says on standard output where, and ends with its standard input.
//
// POST /settings changes how it behaves; what a certified provider does not do (`fault`, `forge`) is done around it.

import { createHmac, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { createServer } from "node:http";
import { json } from "node:stream/consumers";

import { Provider } from "oidc-provider";

// Nobody reads on after the first line of standard output.
console.info = console.warn;

const SECRET = "s&cret of: the/client";

const settings = {
  // Where browsers may be sent back to.
  redirect_uri: "http://127.0.0.1/",
  // What else is known of ruad.
  client: {},
  // What is said of each person.
  accounts: {},
  // An answer at a path in place of the provider's: { path, status, headers, body, times }.
  fault: null,
  // What is changed in the next ID tokens: { alg, claims, key }.
  forge: null,
};

function newKey() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { privateKey, kid: randomUUID() };
}

let key = newKey();

// A token that says and claims to be signed with something else.
function forged(token, { alg = "RS256", claims = {}, key: signer = "own" }) {
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const said = JSON.parse(Buffer.from(token.split(".")[1], "base64url").toString());
  const content = `${encode({ alg, kid: key.kid })}.${encode({ ...said, ...claims })}`;
  const signatures = {
    none: () => "",
    HS256: () => createHmac("sha256", SECRET).update(content).digest("base64url"),
    RS256: () => sign("sha256", content, signer === "own" ? key.privateKey : newKey().privateKey).toString("base64url"),
  };
  return `${content}.${signatures[alg]()}`;
}

function make(issuer) {
  const provider = new Provider(issuer, {
    clients: [{
      client_id: "ruad",
      client_secret: SECRET,
      grant_types: ["authorization_code"],
      response_types: ["code"],
      redirect_uris: [settings.redirect_uri],
      ...settings.client,
    }],
    jwks: { keys: [{ ...key.privateKey.export({ format: "jwk" }), use: "sig", alg: "RS256", kid: key.kid }] },
    cookies: { keys: ["of the tests"] },
    claims: {
      openid: ["sub"],
      profile: ["name", "groups", "dmarc_domains"],
      email: ["email", "email_verified"],
    },
    // As many providers do: what is asked for is in the ID token.
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...settings.accounts[id] }) }),
    // Nobody is asked whether ruad may know who they are.
    async loadExistingGrant({ oidc }) {
      const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
      grant.addOIDCScope("openid profile email");
      await grant.save();
      return grant;
    },
  });
  provider.use(async (context, next) => {
    await next();
    if (settings.forge && context.body?.id_token) {
      context.body = { ...context.body, id_token: forged(context.body.id_token, settings.forge) };
    }
  });
  return provider.callback();
}

const server = createServer(async (request, response) => {
  const { fault } = settings;
  if (request.method === "POST" && request.url === "/settings") {
    const { rotate, ...changed } = await json(request);
    Object.assign(settings, changed);
    if (rotate) key = newKey();
    answer = make(issuer);
    response.writeHead(204).end();
  } else if (fault && request.url.split("?")[0] === fault.path) {
    response.writeHead(fault.status, fault.headers).end((fault.body ?? "").repeat(fault.times ?? 1));
  } else {
    answer(request, response);
  }
});

server.listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
// By another name than that of the page, so that browsers take them for different sites.
const issuer = `http://localhost:${server.address().port}`;
let answer = make(issuer);
console.log(issuer);
process.stdin.resume().on("end", () => process.exit());
