//! Requests by several clients at a time, each with a connection of its own, and how long each took.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use rustix::time::{ClockId, clock_gettime};

use crate::http::Client;

/// What all requests together took.
pub(crate) struct Taken {
    /// Of each request, in no order.
    pub(crate) millis: Vec<f64>,
    /// From the first request to the last answer.
    pub(crate) seconds: f64,
    /// Processor time of the clients.
    pub(crate) client_seconds: f64,
}

/// What ends a measurement.
#[derive(Clone, Copy)]
pub(crate) struct End {
    /// So many requests.
    pub(crate) count: usize,
    /// Or so much time: what takes that long is known well enough with fewer.
    pub(crate) after: Duration,
}

/// Has so many clients make requests 0, 1, 2 and so on, each taking the next one when it has its answer.
pub(crate) fn measure(
    address: SocketAddr,
    clients: usize,
    end: End,
    request: impl Fn(&mut Client, usize) -> Result<()> + Sync,
) -> Result<Taken> {
    let next = AtomicUsize::new(0);
    let connections = (0..clients).map(|_| Client::connect(address));
    let connections: Vec<Client> = connections.collect::<Result<_>>()?;
    let (begun, processor) = (Instant::now(), process_time());
    let millis = thread::scope(|scope| {
        let work = |mut client: Client| {
            let (next, request) = (&next, &request);
            scope.spawn(move || -> Result<Vec<f64>> {
                let mut millis = Vec::with_capacity(end.count / clients * 2);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end.count || begun.elapsed() > end.after {
                        return Ok(millis);
                    }
                    let started = Instant::now();
                    request(&mut client, number)?;
                    millis.push(started.elapsed().as_secs_f64() * 1e3);
                }
            })
        };
        let threads: Vec<_> = connections.into_iter().map(work).collect();
        let mut all = Vec::with_capacity(end.count);
        for thread in threads {
            all.extend(thread.join().map_err(|_| anyhow!("a client panicked"))??);
        }
        Ok::<_, anyhow::Error>(all)
    })?;
    Ok(Taken {
        millis,
        seconds: begun.elapsed().as_secs_f64(),
        client_seconds: (process_time() - processor).as_secs_f64(),
    })
}

/// The value that so many per cent are not above.
pub(crate) fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

fn process_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}
