//! IMAP by hand: a line is said, and what comes back is text.

use std::{io, path::Path, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

use super::DEADLINE;

/// A connection.
pub(crate) struct Imap<S> {
    stream: S,
    /// Has come and is not yet taken.
    heard: String,
    number: u32,
}

impl Imap<TcpStream> {
    /// To this machine; the greeting is still to come.
    pub(crate) async fn connect(port: u16) -> Self {
        Self::on(TcpStream::connect(("127.0.0.1", port)).await.unwrap())
    }

    /// Goes over to TLS, as the server has agreed to.
    pub(crate) async fn over_tls(
        self,
        connector: &TlsConnector,
    ) -> io::Result<Imap<TlsStream<TcpStream>>> {
        let name = ServerName::try_from("localhost").unwrap();
        Ok(Imap::on(connector.connect(name, self.stream).await?))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Imap<S> {
    fn on(stream: S) -> Self {
        Self {
            stream,
            heard: String::new(),
            number: 0,
        }
    }

    /// Says a command and gives the answer, up to and with the tagged line, or to the end of the connection.
    pub(crate) async fn ask(&mut self, command: &str) -> String {
        let tag = self.say(command).await;
        self.hear(&format!("{tag} ")).await
    }

    /// Says a command and gives its tag.
    pub(crate) async fn say(&mut self, command: &str) -> String {
        self.number += 1;
        let tag = format!("t{}", self.number);
        self.write(&format!("{tag} {command}")).await;
        tag
    }

    /// Says a line that has no tag.
    pub(crate) async fn write(&mut self, line: &str) {
        // A server that is gone is noticed when its answer is missing.
        _ = self
            .stream
            .write_all(format!("{line}\r\n").as_bytes())
            .await;
    }

    /// Everything up to and with the line that starts like this, or to the end of the connection.
    pub(crate) async fn hear(&mut self, start: &str) -> String {
        let hearing = async {
            loop {
                let mut taken = 0;
                for line in self.heard.split_inclusive('\n') {
                    taken += line.len();
                    if line.starts_with(start) && line.ends_with('\n') {
                        let rest = self.heard.split_off(taken);
                        return std::mem::replace(&mut self.heard, rest);
                    }
                }
                let mut bytes = vec![0; 64 << 10];
                // Connections also end by a reset.
                let read = self.stream.read(&mut bytes).await.unwrap_or(0);
                if read == 0 {
                    return std::mem::take(&mut self.heard);
                }
                self.heard
                    .push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        };
        let heard = tokio::time::timeout(DEADLINE, hearing).await;
        heard.unwrap_or_else(|_| panic!("still waiting for {start:?}"))
    }
}

/// TLS that trusts nobody but the authorities in a file.
pub(crate) fn tls_connector(ca_file: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_file).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}
