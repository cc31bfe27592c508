//! A name server on loopback, UDP and TCP. It also serves the unit tests of `ingest`.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
};

use mail_auth::hickory_resolver::proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{RData, Record, RecordType, rdata::TXT},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    task::{AbortHandle, JoinSet},
};

/// Longer answers are truncated over UDP.
const DATAGRAM_BYTES_MAX: usize = 512;

/// How long answers may be kept.
const TTL_SECS: u32 = 3_600;

/// A name server that knows the TXT records tests give it, and says of all others that they do not exist.
pub(crate) struct Dns {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    server: AbortHandle,
}

/// What a name server does instead of answering.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    Silence,
    /// It answers SERVFAIL.
    ServerFailure,
}

#[derive(Default)]
struct Zone {
    /// TXT records by name, in lower case and with a dot at the end.
    texts: HashMap<String, Vec<String>>,
    /// Domains, with a dot at the end, and what is wrong with the names at and below them.
    faults: Vec<(String, Fault)>,
    /// Names that were asked for.
    queries: Vec<String>,
}

impl Dns {
    /// A name server without records.
    pub(crate) async fn start() -> Self {
        let (udp, tcp) = bind().await;
        let address = udp.local_addr().unwrap();
        let zone = Arc::new(Mutex::new(Zone::default()));
        let server = tokio::spawn(serve(udp, tcp, Arc::clone(&zone))).abort_handle();
        Self {
            address,
            zone,
            server,
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a TXT record.
    pub(crate) fn add_txt(&self, name: &str, text: &str) {
        let texts = &mut self.zone().texts;
        texts.entry(absolute(name)).or_default().push(text.into());
    }

    /// From now on this happens to queries for names at or below a domain; `.` is all of them.
    pub(crate) fn fail(&self, domain: &str, fault: Fault) {
        let domain = absolute(domain);
        self.zone().faults.push((domain, fault));
    }

    /// All is well again.
    pub(crate) fn recover(&self) {
        self.zone().faults.clear();
    }

    /// The names that were asked for so far.
    pub(crate) fn queries(&self) -> Vec<String> {
        self.zone().queries.clone()
    }

    fn zone(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().unwrap()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The same port for both.
async fn bind() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
}

fn absolute(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.').to_ascii_lowercase())
}

async fn serve(udp: UdpSocket, tcp: TcpListener, zone: Arc<Mutex<Zone>>) {
    let mut connections = JoinSet::new();
    let mut datagram = [0; 4096];
    loop {
        tokio::select! {
            Ok((length, client)) = udp.recv_from(&mut datagram) => {
                if let Some(answer) = answer(&zone, &datagram[..length], DATAGRAM_BYTES_MAX) {
                    _ = udp.send_to(&answer, client).await;
                }
            }
            Ok((stream, _)) = tcp.accept() => {
                connections.spawn(serve_stream(stream, Arc::clone(&zone)));
            }
        }
    }
}

/// RFC 1035 section 4.2.2: each message follows its length.
async fn serve_stream(mut stream: TcpStream, zone: Arc<Mutex<Zone>>) -> io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut query = vec![0; length.into()];
        stream.read_exact(&mut query).await?;
        if let Some(answer) = answer(&zone, &query, u16::MAX.into()) {
            stream
                .write_u16(u16::try_from(answer.len()).unwrap())
                .await?;
            stream.write_all(&answer).await?;
        }
    }
}

/// The answer to a query, if there is to be one.
fn answer(zone: &Mutex<Zone>, query: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).unwrap();
    let question = query.queries.first().unwrap();
    let name = question.name().to_ascii().to_ascii_lowercase();
    let mut zone = zone.lock().unwrap();
    zone.queries.push(name.clone());
    let mut answer = Message::response(query.metadata.id, OpCode::Query);
    answer.metadata.recursion_available = true;
    answer.add_query(question.clone());
    match zone.fault(&name) {
        Some(Fault::Silence) => return None,
        Some(Fault::ServerFailure) => answer.metadata.response_code = ResponseCode::ServFail,
        None => match zone.texts.get(&name) {
            Some(texts) if question.query_type() == RecordType::TXT => {
                let record = |text: &String| {
                    Record::from_rdata(question.name().clone(), TTL_SECS, RData::TXT(txt(text)))
                };
                answer.add_answers(texts.iter().map(record));
            }
            Some(_) => {}
            None => answer.metadata.response_code = ResponseCode::NXDomain,
        },
    }
    let bytes = answer.to_vec().unwrap();
    if bytes.len() <= bytes_max {
        return Some(bytes);
    }
    Some(answer.truncate().to_vec().unwrap())
}

/// RFC 1035 section 3.3: a string has no more than 255 bytes, and a record no less than one string.
fn txt(text: &str) -> TXT {
    if text.is_empty() {
        return TXT::from_bytes(vec![b""]);
    }
    TXT::from_bytes(text.as_bytes().chunks(255).collect())
}

impl Zone {
    fn fault(&self, name: &str) -> Option<Fault> {
        let is_at_or_below = |domain: &str| {
            domain == "."
                || name
                    .strip_suffix(domain)
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let mut faults = self.faults.iter();
        faults.find_map(|(domain, fault)| is_at_or_below(domain).then_some(*fault))
    }
}
