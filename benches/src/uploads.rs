//! Reports over HTTP, one in each upload, each answered after its commit.

use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;

use crate::{
    Setting,
    import::DATABASE,
    input::{Container, Input, SEED, Wanted},
    latency::{self, End, Taken, percentile},
    parser,
    postgres::Server,
    results::{Section, median, thousands},
    serve::Service,
};

const CLIENTS: usize = 32;
/// Uploads before the clock starts: they make the partitions and the connections.
const WARM_UP: usize = 500;
/// As many as half of all reports have at most.
const SMALL_RECORDS: u64 = 5;
const TARGET: &str = "3,000";

pub(crate) fn measure(setting: &Setting, server: &Server) -> Result<Section> {
    let small = setting.inputs.make(&Wanted {
        seed: SEED,
        report_count: setting.sizes.uploads,
        record_count: Some(SMALL_RECORDS),
        container: Container::Gz,
    })?;
    let uneven = setting
        .inputs
        .reports(setting.sizes.uploads / 2, Container::Gz)?;
    let mut rows = Vec::new();
    for (what, input, target) in [
        ("small reports", &small, TARGET),
        ("reports as uneven as in life", &uneven, ""),
    ] {
        rows.push(runs(setting, server, what, input, target)?);
    }
    Ok(Section {
        title: "Concurrent uploads over HTTP".into(),
        text: format!(
            "gzip'd reports, one in each upload, {CLIENTS} clients with a connection each, that wait for the answer before \
             they send the next; into an empty database, {WARM_UP} uploads before the clock starts. Answers are checked to \
             be 201, and the records to be stored. The clients' part of the processor time of both cores is taken away \
             from ruad and PostgreSQL."
        ),
        head: [
            "what",
            "records each",
            "reports/s",
            "target",
            "records/s",
            "p50 ms",
            "p99 ms",
            "clients' processor",
            "peak MiB",
        ]
        .map(Into::into)
        .into(),
        rows,
    })
}

fn runs(
    setting: &Setting,
    server: &Server,
    what: &str,
    input: &Input,
    target: &str,
) -> Result<Vec<String>> {
    let bodies = parser::read(&input.path)?;
    let (mut rates, mut millis, mut clients, mut peaks) = (vec![], vec![], vec![], vec![]);
    for _ in 0..setting.runs {
        server.fresh_database(DATABASE)?;
        let service = Service::start(setting, &server.url(DATABASE))?;
        let (first, rest) = bodies.split_at(WARM_UP.min(bodies.len() / 2));
        upload(&service, first)?;
        let taken = upload(&service, rest)?;
        let stored = server.query(DATABASE, "select sum(record_count) from reports")?;
        ensure!(
            stored == input.record_count.to_string(),
            "{stored} of {} records are stored",
            input.record_count
        );
        rates.push(rest.len() as f64 / taken.seconds);
        clients.push(taken.client_seconds / taken.seconds / setting.cores as f64);
        millis.extend(taken.millis);
        peaks.extend(service.peak_mib());
    }
    let records_each = input.record_count as f64 / input.report_count as f64;
    let rate = median(&rates);
    Ok(vec![
        what.into(),
        thousands(records_each),
        thousands(rate),
        target.into(),
        thousands(rate * records_each),
        thousands(percentile(&millis, 50)),
        thousands(percentile(&millis, 99)),
        format!("{:.0} %", median(&clients) * 100.0),
        thousands(peaks.into_iter().fold(f64::NAN, f64::max)),
    ])
}

fn upload(service: &Service, bodies: &[Bytes]) -> Result<Taken> {
    let end = End {
        count: bodies.len(),
        after: Duration::MAX,
    };
    latency::measure(service.address, CLIENTS, end, |client, number| {
        let answer = client.post("/api/v1/reports", &bodies[number])?;
        ensure!(
            answer.status == 201,
            "answered {}: {}",
            answer.status,
            String::from_utf8_lossy(answer.body)
        );
        Ok(())
    })
}
