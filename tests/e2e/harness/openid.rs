//! A real OpenID provider, the certified one in `tests/provider`, and people who sign in there.

mod visitor;

use std::{net::SocketAddr, path::Path, process::Stdio};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};
use server::{Config, Grant, OidcConfig, Secret};
use store::{DomainList, Scope};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use super::{Database, Response, Service, http};

pub(crate) use visitor::{Visitor, cookie_of, place};

/// What it is; it imports what `scripts/provider` fetched.
const SOURCE: &str = include_str!("../../provider/provider.js");

/// A running provider, which ends when it is dropped.
pub(crate) struct OpenId {
    pub(crate) issuer: String,
    address: SocketAddr,
    child: Child,
}

/// Who fits gets this.
pub(crate) fn grant(group: &str, scope: Scope, domains: &[&str]) -> Grant {
    Grant {
        claim: "groups".into(),
        value: group.into(),
        scope,
        domains: DomainList::new(domains.iter().map(|name| (*name).to_owned())).ok(),
        domains_claim: None,
    }
}

impl OpenId {
    pub(crate) async fn start() -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../openid-provider");
        assert!(folder.join("complete").exists(), "run scripts/provider");
        let own = |machine| folder.join(format!("node_modules/node-linux-{machine}/bin/node"));
        let node = [own("x64"), own("arm64")];
        let node = node.into_iter().find(|node| node.exists());
        let mut child = Command::new(node.unwrap_or_else(|| "node".into()))
            .args(["--input-type=module", "--eval", SOURCE])
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let issuer = lines.next_line().await.unwrap();
        let issuer = issuer.expect("the provider says where it is");
        let port = issuer.rsplit(':').next().unwrap().parse().unwrap();
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            issuer,
            child,
        }
    }

    /// The settings of a service that this provider is for, which listens where they say.
    pub(crate) fn settings(&self, config: &Config, grants: &[Grant]) -> OidcConfig {
        OidcConfig {
            issuer: self.issuer.clone(),
            client_id: "ruad".into(),
            client_secret: Secret::from("s&cret of: the/client"),
            redirect_url: format!("http://{}/api/v1/session/oidc/callback", config.listen),
            label: "Sign in with Example".into(),
            grants: grants.into(),
            ..OidcConfig::default()
        }
    }

    /// A service where these people sign in.
    pub(crate) async fn service(&self, grants: &[Grant], accounts: Value) -> Service {
        let database = Database::fresh().await;
        let service = Service::guarded_with(database, |config| {
            config.http.oidc = self.settings(config, grants);
        })
        .await;
        let callback = format!("http://{}/api/v1/session/oidc/callback", service.address);
        let settings = json!({"redirect_uri": callback, "accounts": accounts});
        self.set(settings).await;
        service
    }

    /// Changes how it behaves.
    pub(crate) async fn set(&self, settings: Value) {
        let request = Request::post("/settings").body(Full::new(settings.to_string().into()));
        let answer = self.send(request.unwrap()).await;
        assert_eq!(answer.status, 204, "{answer:?}");
    }

    /// It is gone.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    async fn send(&self, mut request: Request<Full<Bytes>>) -> Response {
        let host = self.issuer.strip_prefix("http://").unwrap();
        let host = host.parse().unwrap();
        request.headers_mut().insert("host", host);
        http::send(self.address, request).await.unwrap()
    }
}
