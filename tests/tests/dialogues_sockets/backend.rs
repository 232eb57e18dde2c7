//! The backend of a listener: it answers what a dialogue's header says, and keeps what it takes.

use crate::configuration::Configuration;
use postern_smtp::reply::{Enhanced, PermanentCode, Refusal, TransientCode};
use postern_smtp::server::{
    Accepted, BareNewlines, Event, Session, Settings, StartTls, Transaction,
};
use postern_tests::dialogue::Said;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A mail as it came to the backend.
pub(crate) struct Arrived {
    /// As an `E:` line.
    envelope: String,
    /// Header and body, with the gateway's fields on top.
    pub(crate) message: Vec<u8>,
}

impl Arrived {
    /// Whether the envelope is the wanted one. Parameters are declared anew, by what the message
    /// with our fields in it needs (docs/delivery.md): BODY=8BITMIME for octets above 127, and
    /// SMTPUTF8, where the client declared it, for addresses or a message beyond ASCII.
    pub(crate) fn is_to(&self, wanted: &str) -> bool {
        let (from, to) = wanted.split_once(" TO:").unwrap_or((wanted, ""));
        let declared = from.ends_with(" SMTPUTF8");
        let from = from.trim_end_matches(" SMTPUTF8");
        let mut from = from.trim_end_matches(" BODY=8BITMIME").to_owned();
        if !self.message.is_ascii() {
            from += " BODY=8BITMIME";
        }
        if declared && !(wanted.is_ascii() && self.message.is_ascii()) {
            from += " SMTPUTF8";
        }
        self.envelope == format!("{from} TO:{to}")
    }
}

impl std::fmt::Debug for Arrived {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.envelope, self.message.escape_ascii())
    }
}

/// A backend that answers as a header says, and keeps what it takes. Runs until it is dropped.
pub(crate) struct Backend {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What it has taken, the oldest first.
    pub(crate) arrived: Arc<Mutex<VecDeque<Arrived>>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Backend {
    /// Listens at a free port of 127.0.0.1.
    pub(crate) async fn start(configuration: &Configuration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let arrived = Arc::default();
        let script = Arc::new((configuration.rcpt.clone(), configuration.message.clone()));
        let kept = Arc::clone(&arrived);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = Served {
                    script: Arc::clone(&script),
                    arrived: Arc::clone(&kept),
                    envelope: String::new(),
                    body: Vec::new(),
                };
                // A peer that breaks off ends its own task; there is nobody to tell.
                tokio::spawn(served.serve(stream));
            }
        });
        Self {
            address,
            arrived,
            accepting,
        }
    }
}

/// One connection to the backend.
struct Served {
    script: Arc<(BTreeMap<String, Said>, Option<Said>)>,
    arrived: Arc<Mutex<VecDeque<Arrived>>>,
    envelope: String,
    body: Vec<u8>,
}

impl Served {
    async fn serve(mut self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut session = Session::new(Settings {
            hostname: "store.acme.test".to_owned(),
            starttls: StartTls::Unavailable,
            size: 64 << 20,
            commands: u32::MAX,
            errors: u32::MAX,
            rcptmax: None,
        });
        session.greet();
        let mut input = Vec::new();
        loop {
            while let Some(event) = session.poll() {
                match event {
                    Event::Send(octets) => stream.write_all(&octets).await?,
                    Event::StartTls | Event::Close(_) => return stream.shutdown().await,
                    event => self.answer(&mut session, event),
                }
            }
            let taken = session.receive(&input);
            input.drain(..taken);
            if taken == 0 && stream.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        }
    }

    fn answer(&mut self, session: &mut Session, event: Event) {
        match event {
            Event::Helo(_) => session.helo(Ok(())),
            Event::Mail(mail) => {
                self.envelope = format!("FROM:{}", mail.reverse_path);
                if mail.eight_bit_mime {
                    self.envelope += " BODY=8BITMIME";
                }
                if mail.smtputf8 {
                    self.envelope += " SMTPUTF8";
                }
                session.mail(Ok(Transaction {
                    size: 64 << 20,
                    recipients: 1000,
                    bare_newlines_data: BareNewlines::Reject,
                    bare_newlines_bdat: BareNewlines::Reject,
                }));
            }
            Event::Rcpt(rcpt) => {
                let path = rcpt.forward_path.to_string();
                let said = self.script.0.get(path.trim_matches(['<', '>']));
                if said.is_none() {
                    self.envelope += &format!(" TO:{path}");
                }
                session.rcpt(rcpt.id, said.map_or(Ok(()), |said| Err(refusal(said))));
            }
            Event::Data(_) => session.data(Ok(())),
            Event::Body(octets) => self.body.extend_from_slice(&octets),
            Event::Message(_) => session.message(self.decide()),
            Event::Reset(_) => self.forget(),
            Event::MailRefused(_)
            | Event::RcptGroup
            | Event::Send(_)
            | Event::StartTls
            | Event::Close(_) => {}
        }
    }

    fn decide(&mut self) -> Result<Accepted, Refusal> {
        let text = match &self.script.1 {
            Some(said) if said.code >= 400 => {
                let refusal = refusal(said);
                self.forget();
                return Err(refusal);
            }
            Some(said) => said.text.clone(),
            None => "Accepted".to_owned(),
        };
        self.arrived.lock().unwrap().push_back(Arrived {
            envelope: std::mem::take(&mut self.envelope),
            message: std::mem::take(&mut self.body),
        });
        Ok(Accepted { text })
    }

    fn forget(&mut self) {
        self.envelope.clear();
        self.body.clear();
    }
}

fn refusal(said: &Said) -> Refusal {
    let enhanced = Enhanced(said.enhanced.0, said.enhanced.1);
    match said.code {
        421 => Refusal::transient(TransientCode::ServiceNotAvailable, enhanced, &*said.text),
        400..500 => Refusal::transient(TransientCode::relayed(said.code), enhanced, &*said.text),
        _ => Refusal::permanent(PermanentCode::relayed(said.code), enhanced, &*said.text),
    }
}
