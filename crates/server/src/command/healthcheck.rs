//! `ruad healthcheck`: is the ruad at the configured address ready?

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig,
        pki_types::{CertificateDer, pem::PemObject as _},
    },
};

use crate::{Config, exit::Exit, output};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks and prints the answer.
pub(crate) async fn healthcheck(config: &Config) -> Result<Exit> {
    let address = reachable(config.listen);
    let tls = client_config(&config.http.tls)?;
    let answer = timeout(TIMEOUT, ask(address, tls))
        .await
        .map_err(io::Error::from)
        .flatten()
        .with_context(|| format!("asking {address}"))?;
    let ready = answer
        .split_ascii_whitespace()
        .nth(1)
        .is_some_and(|status| status == "200");
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    output::print(&format!("{}\n", output::plain(body.trim())))?;
    Ok(if ready { Exit::Done } else { Exit::Failed })
}

async fn ask(address: SocketAddr, tls: Option<ClientConfig>) -> io::Result<String> {
    let stream = TcpStream::connect(address).await?;
    match tls {
        Some(tls) => {
            let connector = TlsConnector::from(Arc::new(tls));
            read(
                address,
                connector.connect(address.ip().into(), stream).await?,
            )
            .await
        }
        None => read(address, stream).await,
    }
}

async fn read(
    address: SocketAddr,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
) -> io::Result<String> {
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut stream = stream.take(64 * 1024);
    match stream.read_to_end(&mut answer).await {
        // Some end TLS without saying so.
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
        _ => {}
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The server at our own address has our own certificate, for whatever name.
fn client_config(tls: &api::TlsConfig) -> Result<Option<ClientConfig>> {
    let Some(file) = &tls.certificate_file else {
        return Ok(None);
    };
    let certificate = CertificateDer::from_pem_file(file)
        .with_context(|| format!("reading {}", file.display()))?;
    Ok(Some(ingest::mailbox::trust_only(&certificate)?))
}

/// A server that listens on all addresses is reached on the loopback one.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
