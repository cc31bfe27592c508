//! `ruad serve` as a process of its own, ended when dropped.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{Setting, http::Client, process};

const START_TRIES: u32 = 600;
const START_WAIT: Duration = Duration::from_millis(100);

pub(crate) struct Service {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Service {
    /// Serves a database, and waits until it is ready.
    pub(crate) fn start(setting: &Setting, database_url: &str) -> Result<Self> {
        // The port is free again when the listener is gone, and nobody else here takes ports in between.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let log = setting.folder.join("serve.log");
        let mut command = process::ruad(&setting.ruad);
        command
            .args(["serve", "--listen", &address.to_string()])
            .env("DATABASE_URL", database_url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?);
        let mut service = Self {
            process: command.spawn()?,
            address,
        };
        service.wait_until_ready(log)?;
        Ok(service)
    }

    fn wait_until_ready(&mut self, log: PathBuf) -> Result<()> {
        for _ in 0..START_TRIES {
            let ready = Client::connect(self.address)
                .and_then(|mut client| Ok(client.get("/readyz")?.status == 200));
            if ready.unwrap_or(false) {
                return Ok(());
            }
            if self.process.try_wait()?.is_some() {
                break;
            }
            thread::sleep(START_WAIT);
        }
        bail!("ruad serve did not start: {}", fs::read_to_string(log)?);
    }

    /// The most memory that was resident so far, in MiB.
    pub(crate) fn peak_mib(&self) -> Option<f64> {
        process::high_water_mib(self.process.id())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It has ended by itself if there is no such process.
        _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        _ = self.process.wait();
    }
}
