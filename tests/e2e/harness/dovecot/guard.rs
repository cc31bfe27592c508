//! What ends a server when its test ends, however that happens.

use std::{
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

/// Reads process groups, keeps the last one, and kills it at the end of its input.
const SCRIPT: &str = r#"
while read -r line; do group=$line; done
[ -z "$group" ] || kill -s KILL -- "-$group" 2>/dev/null
for try in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf -- "$1" 2>/dev/null && exit
    sleep 0.1
done"#;

/// A shell that outlives this process by a moment: the end of the pipe tells it, which even `kill -9` cannot prevent.
pub(super) struct Guard {
    shell: Child,
    input: Option<ChildStdin>,
}

impl Guard {
    pub(super) fn of(folder: &Path) -> Self {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(folder)
            .stdin(Stdio::piped())
            // Ctrl-C in the terminal must not end it before its work is done.
            .process_group(0)
            .spawn()
            .unwrap();
        let input = shell.stdin.take();
        Self { shell, input }
    }

    /// To be killed in the end.
    pub(super) fn watch(&mut self, group: u32) {
        writeln!(self.input.as_ref().unwrap(), "{group}").unwrap();
    }

    /// The group is gone, and its number may become another's.
    pub(super) fn forget(&mut self) {
        writeln!(self.input.as_ref().unwrap()).unwrap();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.input.take());
        _ = self.shell.wait();
    }
}
