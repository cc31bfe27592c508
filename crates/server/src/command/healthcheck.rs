//! `ruad healthcheck`: is the ruad at the configured address ready?

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{Config, exit::Exit, output};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks and prints the answer.
pub(crate) async fn healthcheck(config: &Config) -> Result<Exit> {
    let address = reachable(config.listen);
    let answer = timeout(TIMEOUT, ask(address))
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

async fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
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
