//! A backend on loopback: takes mail by SMTP and keeps it, or refuses whom it is told to.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

/// A mail as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Mail {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) message: String,
}

#[derive(Default)]
struct Shared {
    mails: Mutex<Vec<Mail>>,
    dots: Notify,
}

/// A running backend. Its recipients `nobody@...` are refused.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    answering: watch::Sender<bool>,
    _task: AbortOnDropHandle<()>,
}

impl Backend {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let (answering, _) = watch::channel(true);
        let (mine, answers) = (Arc::clone(&shared), answering.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&mine), answers.subscribe()));
            }
        });
        Self {
            address,
            shared,
            answering,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// What has arrived.
    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.shared.mails.lock().unwrap().clone()
    }

    /// From now on the reply to a message is kept back; or no longer.
    pub(crate) fn answer(&self, answer: bool) {
        self.answering.send_replace(answer);
    }

    /// Waits until a final dot has come.
    pub(crate) async fn dot(&self) {
        let wait = self.shared.dots.notified();
        tokio::time::timeout(Duration::from_secs(20), wait)
            .await
            .expect("no dot came");
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>, mut answering: watch::Receiver<bool>) {
    let mut stream = BufReader::new(stream);
    let _ = stream.write_all(b"220 backend.test\r\n").await;
    let (mut from, mut to) = (String::new(), Vec::new());
    let mut line = String::new();
    loop {
        line.clear();
        if !matches!(stream.read_line(&mut line).await, Ok(1..)) {
            return;
        }
        let path = || {
            line.split_once('<')
                .unwrap()
                .1
                .split_once('>')
                .unwrap()
                .0
                .to_owned()
        };
        let reply = match line.get(..4).unwrap_or("").to_ascii_uppercase().as_str() {
            "EHLO" | "LHLO" => "250-backend.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE",
            "MAIL" => {
                from = path();
                to.clear();
                "250 2.1.0 ok"
            }
            "RCPT" if path().starts_with("nobody@") => "550 5.1.1 no such user",
            "RCPT" => {
                to.push(path());
                "250 2.1.5 ok"
            }
            "DATA" if to.is_empty() => "554 5.5.1 no recipients",
            "DATA" => {
                let _ = stream.write_all(b"354 go on\r\n").await;
                let message = read_message(&mut stream).await;
                shared.dots.notify_waiters();
                if answering.wait_for(|answer| *answer).await.is_err() {
                    return;
                }
                let mail = Mail {
                    from: from.clone(),
                    to: std::mem::take(&mut to),
                    message,
                };
                shared.mails.lock().unwrap().push(mail);
                "250 2.0.0 taken as 42"
            }
            "QUIT" => "221 2.0.0 bye",
            _ => "250 2.0.0 ok",
        };
        if stream
            .write_all(format!("{reply}\r\n").as_bytes())
            .await
            .is_err()
        {
            return;
        }
    }
}

async fn read_message(stream: &mut BufReader<TcpStream>) -> String {
    let mut message = String::new();
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 || line == ".\r\n" {
            return message;
        }
        message.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}
