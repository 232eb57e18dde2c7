//! The stage of the demonstration: gateway, DNS zone, mail store and the key that signs.

use super::client::{Client, Reply};
use super::dns::DnsServer;
use super::scenes::{Act, FORGER, GENUINE, UNKNOWN, ZONE, mail};
use super::signing::Signer;
use super::sink::{Received, Sink};
use crate::Error;
use crate::files::{self, Loaded};
use jiff::Timestamp;
use postern_config::Snapshot;
use postern_gateway::telemetry::record::{SessionRecord, Sink as Records, TransactionRecord};
use postern_gateway::{Gateway, Options};
use postern_operator::generate::generate;
use postern_operator::translate::translate;
use postern_operator::world::ObjectKey;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::sync::mpsc;

/// The objects, part of the binary so that the demonstration needs no files.
const OBJECTS: &str = include_str!("../../../examples/quickstart/postern.yaml");
/// Records that may wait; each scene is over before the next begins.
const RECORDS: usize = 64;

/// Everything that a scene needs.
pub(super) struct Stage {
    gateway: Gateway,
    address: SocketAddr,
    dns: DnsServer,
    sink: Sink,
    signer: Signer,
    trusted: Vec<CertificateDer<'static>>,
    records: mpsc::Receiver<TransactionRecord>,
}

/// Hands the records of ended transactions to the demonstration.
struct Collect(mpsc::Sender<TransactionRecord>);

impl Records for Collect {
    fn transaction(&self, record: TransactionRecord) {
        // Nobody listens any more after the last scene.
        let _ = self.0.try_send(record);
    }
    fn session(&self, _: SessionRecord) {}
}

impl Stage {
    /// Starts everything.
    ///
    /// # Errors
    /// When a port or a key cannot be had, or the objects do not compile.
    pub(super) async fn set() -> Result<Self, Error> {
        let signer = Signer::generate("sender.test")?;
        let dns = DnsServer::start(&format!("{ZONE}{}", signer.zone_line())).await?;
        let sink = Sink::start(&[UNKNOWN], true).await?;
        let snapshot = snapshot(dns.address(), sink.address())?;
        let trusted = certificates(&snapshot)?;
        let (collect, records) = mpsc::channel(RECORDS);
        let options = Options {
            bind: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            sink: Arc::new(Collect(collect)),
            ..Options::default()
        };
        let gateway = Gateway::start(snapshot, options)
            .await
            .map_err(|e| Error::failed("start the gateway", e))?;
        let address = gateway
            .local_addr("mx")
            .ok_or_else(|| Error::Failed("the gateway has no listener mx".to_owned()))?;
        Ok(Self {
            gateway,
            address,
            dns,
            sink,
            signer,
            trusted,
            records,
        })
    }

    /// The listener.
    pub(super) fn gateway_address(&self) -> SocketAddr {
        self.address
    }

    /// The DNS server.
    pub(super) fn dns_address(&self) -> SocketAddr {
        self.dns.address()
    }

    /// The mail store.
    pub(super) fn sink_address(&self) -> SocketAddr {
        self.sink.address()
    }

    /// The record of the transaction that ended last.
    pub(super) async fn record(&mut self) -> Option<TransactionRecord> {
        self.records.recv().await
    }

    /// The mails that have arrived since it was asked last.
    pub(super) fn arrived(&self) -> Vec<Received> {
        self.sink.take()
    }

    /// Stops everything.
    pub(super) fn clear(self) {
        self.gateway.shutdown();
    }

    /// What a person can try while the gateway is left running, with what each of them shows.
    pub(super) fn commands(&self) -> String {
        let gateway = self.address;
        let swaks =
            format!("swaks --server {gateway} --tls --from alice@sender.test --to bob@acme.test");
        let curl = format!("curl -sv smtp://{gateway} --mail-from alice@sender.test");
        format!(
            "\nThe gateway goes on until Ctrl-C. Try:\n\
             \n  # 250 2.0.0: sender.test allows this host in its SPF record\
             \n  {swaks} --local-interface {GENUINE}\
             \n  # 550 5.7.26: not signed, and from a host that sender.test does not allow\
             \n  {swaks} --local-interface {FORGER}\
             \n  # 250 2.0.0: the first one once more, without TLS\
             \n  printf 'From: alice@sender.test\\r\\n\\r\\nHello.\\r\\n' \
             | {curl} --mail-rcpt bob@acme.test --interface {GENUINE} -T -\
             \n  # 550 5.1.1 at RCPT: the mail store does not know {UNKNOWN}\
             \n  {curl} --mail-rcpt {UNKNOWN}@acme.test -T /dev/null\
             \n  # the certificate, and a dialogue by hand (in small letters: R and Q are openssl's)\
             \n  openssl s_client -starttls smtp -connect {gateway} -crlf"
        )
    }

    /// Plays an act; the reply that decides the mail's fate comes back.
    ///
    /// # Errors
    /// When the dialogue breaks off where it should not.
    pub(super) async fn play(&self, act: Act) -> Result<Option<Reply>, Error> {
        match act {
            Act::Genuine => {
                let mail = self
                    .signer
                    .sign(&mail("alice@sender.test", "Lunch", "At noon?"))?;
                self.send(GENUINE, "alice@sender.test", &mail)
                    .await
                    .map(Some)
            }
            Act::Forged => {
                let mail = mail("security@bank.test", "Your account", "Click here.");
                self.send(FORGER, "security@bank.test", &mail)
                    .await
                    .map(Some)
            }
            Act::Broken => {
                let signed = self
                    .signer
                    .sign(&mail("alice@sender.test", "Invoice", "Pay 10."))?;
                let changed = signed.replace("Pay 10.", "Pay 10000.");
                self.send(FORGER, "alice@sender.test", &changed)
                    .await
                    .map(Some)
            }
            Act::UnknownUser => self.unknown_user().await.map(Some),
            Act::TooLarge => {
                let body = "0123456789abcdef\r\n".repeat(100_000);
                let mail = mail("alice@sender.test", "Holiday pictures", &body);
                self.send(GENUINE, "alice@sender.test", &mail)
                    .await
                    .map(Some)
            }
            Act::CutOff => self.cut_off().await.map(|()| None),
        }
    }

    async fn connect(&self, source: IpAddr) -> Result<Client, Error> {
        let helo = if source == GENUINE {
            "mail.sender.test"
        } else {
            "somewhere.test"
        };
        let client = Client::connect(self.address, source, helo).await?;
        client.secure(helo, &self.trusted).await
    }

    async fn send(&self, source: IpAddr, from: &str, mail: &str) -> Result<Reply, Error> {
        let mut client = self.connect(source).await?;
        for command in [&format!("MAIL FROM:<{from}>"), "RCPT TO:<bob@acme.test>"] {
            let reply = client.ask(command).await?;
            if reply.code != 250 {
                return Ok(reply);
            }
        }
        let go_ahead = client.ask("DATA").await?;
        if go_ahead.code != 354 {
            return Ok(go_ahead);
        }
        let reply = client.message(mail).await?;
        // Whether the gateway still answers QUIT is not what the scene is about.
        let _ = client.ask("QUIT").await;
        Ok(reply)
    }

    async fn unknown_user(&self) -> Result<Reply, Error> {
        let mut client = self.connect(GENUINE).await?;
        client.ask("MAIL FROM:<alice@sender.test>").await?;
        let reply = client
            .ask(&format!("RCPT TO:<{UNKNOWN}@acme.test>"))
            .await?;
        let _ = client.ask("QUIT").await;
        Ok(reply)
    }

    async fn cut_off(&self) -> Result<(), Error> {
        let mut client = self.connect(GENUINE).await?;
        for command in [
            "MAIL FROM:<alice@sender.test>",
            "RCPT TO:<bob@acme.test>",
            "DATA",
        ] {
            client.ask(command).await?;
        }
        let half = mail("alice@sender.test", "Half", "The rest of this mail never");
        client.send(half.as_bytes()).await
    }
}

/// The objects compiled for this stage: any free port, this DNS server, this mail store.
fn snapshot(dns: SocketAddr, sink: SocketAddr) -> Result<Snapshot, Error> {
    let now = Timestamp::now();
    let mut loaded: Loaded = files::parse("examples/quickstart", OBJECTS, now);
    if let Some(problem) = loaded.problems.first() {
        return Err(Error::Failed(problem.to_string()));
    }
    let store = (ObjectKey::new("mail", "mailstore"), 25);
    loaded.world.service_addresses.insert(store, vec![sink]);
    let first = translate(&loaded.world);
    for one in first
        .gateways
        .values()
        .flat_map(|gateway| &gateway.generate)
    {
        let pair = generate(&one.kind, now).map_err(|e| Error::failed("certificate", e))?;
        loaded.world.generated.insert(one.name.clone(), pair);
    }
    let second = translate(&loaded.world);
    let snapshot = second
        .gateways
        .into_values()
        .find_map(|gateway| gateway.snapshot);
    let mut snapshot =
        snapshot.ok_or_else(|| Error::Failed("the objects hold no gateway".to_owned()))?;
    snapshot.config.resolver.nameservers = vec![dns];
    for listener in &mut snapshot.config.listeners {
        listener.bind_port = 0;
    }
    Ok(snapshot)
}

fn certificates(snapshot: &Snapshot) -> Result<Vec<CertificateDer<'static>>, Error> {
    snapshot
        .keys
        .certificates
        .values()
        .map(|pair| {
            CertificateDer::from_pem_slice(pair.chain_pem.as_bytes())
                .map_err(|e| Error::failed("the gateway's certificate", e))
        })
        .collect()
}
