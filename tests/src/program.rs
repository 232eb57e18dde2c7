//! A neighbour process: started with its output in a file, gone when the test is.
//!
//! In: a [`Command`]. Out: a [`Program`] that is killed when it is dropped, and by
//! the kernel when the test process dies in whatever way (`setpriv --pdeathsig`,
//! since setting it from here would be unsafe code).

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::within;

/// A running (or stopped) process of the test's own.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `command`; both its outputs go to `<folder>/<name>.log`, appended.
    ///
    /// Of the command, its program, arguments, environment and current folder are used.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(name: &str, command: &Command, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let mut bound = Command::new("setpriv");
        bound.args(["--pdeathsig", "KILL", "--"]);
        bound.arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => bound.env(key, value),
                None => bound.env_remove(key),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            bound.current_dir(folder);
        }
        bound.stdin(Stdio::null());
        bound.stdout(out.try_clone().unwrap()).stderr(out);
        let child = spawn(bound);
        Self {
            name: name.to_owned(),
            child,
            log,
        }
    }

    /// The process id; `setpriv` has become the program itself, so it is the program's.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file that takes what it prints.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// All that it has printed so far.
    #[must_use]
    pub fn output(&self) -> String {
        fs::read(&self.log).map_or_else(
            |error| format!("({error})"),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        )
    }

    /// The last `lines` lines that it has printed, for a failure's message.
    #[must_use]
    pub fn last_output(&self, lines: usize) -> String {
        let output = self.output();
        let all: Vec<&str> = output.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// The exit status, if it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Sends a signal: `Signal::TERM` to end it in order, `Signal::STOP` and
    /// `Signal::CONT` to suspend and resume it.
    ///
    /// # Panics
    /// When it has ended.
    pub fn signal(&mut self, signal: Signal) {
        if let Some(status) = self.exited() {
            panic!(
                "{} has ended already ({status}):\n{}",
                self.name,
                self.last_output(20)
            );
        }
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// `kill -9`, and waits until it is gone. Nothing happens when it has ended already.
    pub fn kill(&mut self) {
        // Errors say that it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for it to end by itself.
    ///
    /// # Panics
    /// When it has not after `deadline`.
    pub async fn ended(&mut self, deadline: Duration) -> ExitStatus {
        let waited = within(deadline, async || self.exited().ok_or("it still runs")).await;
        waited.unwrap_or_else(|_| {
            panic!(
                "{} still runs after {deadline:?}:\n{}",
                self.name,
                self.last_output(20)
            )
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a program to its end and gives its standard output; the runtime goes on meanwhile.
///
/// # Panics
/// When it cannot be started or fails; the message has its standard error.
pub async fn run(mut command: Command) -> String {
    let shown = format!("{command:?}");
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap();
    let output = output.unwrap_or_else(|error| panic!("cannot start {shown}: {error}"));
    let (stdout, stderr) = [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes))
        .into();
    assert!(
        output.status.success(),
        "{shown}: {}\n{stdout}{stderr}",
        output.status
    );
    stdout.into_owned()
}

/// Starts a child from a thread that lives as long as this process does.
///
/// The kernel sends the death signal when the *thread* that started the child ends,
/// and a test's thread ends with its test, while a neighbour may be shared.
fn spawn(command: Command) -> Child {
    type Order = (Command, mpsc::Sender<std::io::Result<Child>>);
    static ORDERS: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    let orders = ORDERS.get_or_init(|| {
        let (orders, taken) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in taken {
                // A receiver that has gone is a test that has failed meanwhile.
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let program = format!("{command:?}");
    let (answer, child) = mpsc::channel();
    orders.lock().unwrap().send((command, answer)).unwrap();
    child
        .recv()
        .unwrap()
        .unwrap_or_else(|error| panic!("cannot start {program}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn its_output_and_exit_status_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut program = Program::start(
            "echo",
            &shell("echo out; echo err >&2; exit 3"),
            folder.path(),
        );
        assert_eq!(program.ended(Duration::from_secs(5)).await.code(), Some(3));
        assert_eq!(program.output(), "out\nerr\n");
        assert_eq!(program.last_output(1), "err");
    }

    #[test]
    fn it_outlives_the_thread_that_started_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let start = move || Program::start("cat", &shell("exec sleep 60"), &path);
        let mut program = std::thread::spawn(start).join().unwrap();
        assert!(program.exited().is_none());
        program.signal(Signal::CONT);
    }

    /// Starts itself anew as the process that is to die, which starts a program.
    #[tokio::test]
    async fn it_dies_with_the_test_process() {
        const ROLE: &str = "POSTERN_TEST_DYING_PROCESS";
        if let Some(folder) = std::env::var_os(ROLE) {
            let _program =
                Program::start("sleep", &shell("echo $$; exec sleep 60"), folder.as_ref());
            return std::future::pending().await;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut dying = Command::new(std::env::current_exe().unwrap());
        dying.args(["--exact", "program::tests::it_dies_with_the_test_process"]);
        dying.env(ROLE, folder.path());
        let mut dying = Program::start("dying", &dying, folder.path());
        let log = folder.path().join("sleep.log");
        let pid = within(Duration::from_secs(10), async || {
            let log = fs::read_to_string(&log).map_err(|error| error.to_string())?;
            log.trim().parse::<u32>().map_err(|error| error.to_string())
        });
        let process = PathBuf::from(format!("/proc/{}", pid.await.unwrap()));
        assert!(process.exists());
        dying.kill();
        let gone = async || {
            if process.exists() {
                Err("it lives")
            } else {
                Ok(())
            }
        };
        within(Duration::from_secs(5), gone).await.unwrap();
    }

    #[test]
    fn dropping_it_ends_it() {
        let folder = tempfile::tempdir().unwrap();
        let program = Program::start("cat", &shell("exec sleep 60"), folder.path());
        let process = PathBuf::from(format!("/proc/{}", program.pid()));
        assert!(process.exists());
        drop(program);
        assert!(!process.exists());
    }
}
