//! A gateway with all that is around it, described in a few lines.

use crate::backend::Backend;
use crate::client::Client;
use crate::dns::{Dns, Zone};
use postern_config::backend::{
    BackendProtocol, BackendTls, BackendTlsMode, MultipleRecipients, Target,
};
use postern_config::listener::{Listener, Protocol, ReceivedClient, Tls, TlsMode, TlsVersion};
use postern_config::policy::*;
use postern_config::route::*;
use postern_config::{
    CertificateKey, Config, Drain, GatewayIdentity, Keys, Resolver, Snapshot, telemetry,
};
use postern_gateway::telemetry::record::{SessionRecord, Sink, TransactionRecord};
use postern_gateway::{Gateway, Options};
use rustls::pki_types::CertificateDer;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// The records that came, and a way to wait for them.
pub(crate) struct Records {
    pub(crate) transactions: Mutex<Vec<TransactionRecord>>,
    pub(crate) sessions: Mutex<Vec<SessionRecord>>,
    count: watch::Sender<usize>,
}

impl Default for Records {
    fn default() -> Self {
        let (transactions, sessions) = (Mutex::default(), Mutex::default());
        Self {
            transactions,
            sessions,
            count: watch::Sender::new(0),
        }
    }
}

impl Sink for Records {
    fn transaction(&self, record: TransactionRecord) {
        self.transactions.lock().unwrap().push(record);
        self.count.send_modify(|count| *count += 1);
    }
    fn session(&self, record: SessionRecord) {
        self.sessions.lock().unwrap().push(record);
        self.count.send_modify(|count| *count += 1);
    }
}

impl Records {
    /// Waits for the next transaction after `seen` ones.
    pub(crate) async fn transaction(&self, seen: usize) -> TransactionRecord {
        self.wait(|records| records.transactions.lock().unwrap().get(seen).cloned())
            .await
    }

    /// Waits for a session after `seen` ones.
    pub(crate) async fn session(&self, seen: usize) -> SessionRecord {
        self.wait(|records| records.sessions.lock().unwrap().get(seen).cloned())
            .await
    }

    async fn wait<T>(&self, find: impl Fn(&Self) -> Option<T>) -> T {
        let mut count = self.count.subscribe();
        let found = async {
            loop {
                count.borrow_and_update();
                if let Some(found) = find(self) {
                    return found;
                }
                count.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), found)
            .await
            .expect("no record came")
    }
}

/// The gateway and its neighbours.
pub(crate) struct World {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) backend: Backend,
    pub(crate) records: Arc<Records>,
    pub(crate) snapshot: Snapshot,
    _dns: Dns,
}

impl World {
    /// A gateway with the defaults, changed by `change`; DNS answers from `zone`.
    pub(crate) async fn with(zone: Zone, change: impl FnOnce(&mut Snapshot)) -> Self {
        Self::start(zone, Options::default(), change).await
    }

    /// A gateway with the defaults, changed by `change`; DNS knows nothing.
    pub(crate) async fn new(change: impl FnOnce(&mut Snapshot)) -> Self {
        Self::with(vec![], change).await
    }

    /// All of it.
    pub(crate) async fn start(
        zone: Zone,
        options: Options,
        change: impl FnOnce(&mut Snapshot),
    ) -> Self {
        let dns = Dns::start(zone).await;
        let backend = Backend::start().await;
        let mut snapshot = snapshot(dns.address, backend.address);
        change(&mut snapshot);
        let records = Arc::new(Records::default());
        let options = Options {
            bind: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            admin: Some((Ipv4Addr::LOCALHOST, 0).into()),
            sink: Arc::clone(&records) as _,
            ..options
        };
        let gateway = Gateway::start(snapshot.clone(), options).await.unwrap();
        Self {
            gateway: Arc::new(gateway),
            backend,
            records,
            snapshot,
            _dns: dns,
        }
    }

    /// The listener `mx`.
    pub(crate) fn mx(&self) -> SocketAddr {
        self.gateway.local_addr("mx").unwrap()
    }

    /// A client that was greeted and has said EHLO.
    pub(crate) async fn client(&self) -> Client {
        Client::hello(self.mx()).await
    }

    /// Changes the snapshot in use.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.snapshot);
        self.gateway.apply(self.snapshot.clone()).unwrap();
    }

    /// Waits until so many octets of messages have come.
    pub(crate) async fn until_held(&self, octets: usize) {
        let held = async {
            while self.held() < octets as f64 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), held)
            .await
            .expect("the octets never came");
    }

    /// Octets of messages that are held now.
    pub(crate) fn held(&self) -> f64 {
        let name = "postern_message_memory_used ";
        let line = self.metric(name).expect("no such metric");
        line.trim_start_matches(name).parse().unwrap()
    }

    /// A metric's line of `/metrics`, by its beginning.
    pub(crate) fn metric(&self, start: &str) -> Option<String> {
        let text = self.gateway.metrics().text().unwrap();
        text.lines()
            .find(|line| line.starts_with(start))
            .map(str::to_owned)
    }
}

fn plain<T>(value: T) -> Sourced<T> {
    Sourced {
        policy: None,
        value,
    }
}

/// One listener `mx`, one route for `acme.test` to the backend.
pub(crate) fn snapshot(dns: SocketAddr, backend: SocketAddr) -> Snapshot {
    let config = Config {
        gateway: GatewayIdentity {
            namespace: "mail".into(),
            name: "edge".into(),
        },
        hostname: "mx.acme.test".into(),
        authserv_id: "acme.test".into(),
        postmaster: Some("postmaster@acme.test".into()),
        listeners: vec![listener("mx", 25)],
        routes: vec![Route {
            namespace: "acme".into(),
            name: "mail".into(),
            listener: "mx".into(),
            rules: vec![rule("default", "store")],
        }],
        backends: BTreeMap::from([
            ("store".into(), service(backend)),
            ("other".into(), service(backend)),
            ("discard".into(), discard()),
        ]),
        resolver: Resolver {
            nameservers: vec![dns],
            timeout_ms: 1000,
            attempts: 1,
            cache_entries: 1000,
            cache_max_ttl_s: 3600,
        },
        telemetry: telemetry::Telemetry {
            traces: None,
            metrics: None,
            recipients: telemetry::Recipients::Full,
        },
        drain: Drain {
            min_duration_ms: 0,
            timeout_ms: 10_000,
        },
        generations: BTreeMap::new(),
    };
    Snapshot {
        config,
        keys: Keys::default(),
    }
}

pub(crate) fn listener(name: &str, port: u16) -> Listener {
    Listener {
        name: name.into(),
        port,
        bind_port: 0,
        protocol: Protocol::Smtp,
        tls: None,
        proxy_trusted: vec![],
        received_client: ReceivedClient::Show,
        one_recipient: false,
        claims: vec![Claim {
            pattern: RecipientPattern::Domain("acme.test".into()),
            route: 0,
        }],
        enforced: listener_policy(),
        shadow: None,
    }
}

pub(crate) fn listener_policy() -> ListenerPolicy {
    ListenerPolicy {
        connection: ConnectionPolicy {
            clients: plain(ClientAccess::default()),
            limits: plain(ConnectionLimits {
                connections: 1000,
                connections_per_network: 100,
                commands: 1000,
                errors: 10,
            }),
            timeouts: plain(SessionTimeouts {
                command_ms: 20_000,
                session_ms: 60_000,
            }),
        },
        helo: HeloPolicy {
            access: plain(HeloAccess::default()),
        },
        mail: MailPolicy {
            senders: plain(SenderAccess::default()),
            limits: plain(MailLimits {
                message_size: 1 << 20,
                bare_newlines: None,
            }),
        },
    }
}

pub(crate) fn rule(name: &str, backend: &str) -> Rule {
    Rule {
        name: name.into(),
        matches: vec![],
        verify_recipients: VerifyRecipients::None,
        backends: vec![WeightedBackend {
            backend: backend.into(),
            weight: 1,
        }],
        enforced: recipient_policy(),
        shadow: None,
    }
}

pub(crate) fn recipient_policy() -> RecipientPolicy {
    let verify = Verify {
        spf: SpfActions {
            on_fail: Action::Tag,
            on_soft_fail: Action::Accept,
            on_perm_error: Action::Tag,
            on_temp_error: Action::Tag,
        },
        dkim: DkimActions {
            on_fail: Action::Accept,
            max_signatures: 8,
            length_tag: LengthTag::Ignore,
        },
        dmarc: DmarcActions {
            on_reject: OnDmarcReject::Reject,
            on_quarantine: Action::Tag,
        },
        trusted_sealers: vec![],
        iprev_on_fail: Action::Accept,
        from_on_ambiguous: Action::Accept,
        trusted_forwarders: TrustedForwarders::default(),
    };
    RecipientPolicy {
        rcpt: RcptPolicy {
            recipients: plain(RecipientAccess::default()),
            limits: plain(RcptLimits { recipients: 100 }),
        },
        data: DataPolicy {
            limits: plain(DataLimits {
                message_size: 1 << 20,
                received_headers: 100,
                min_data_rate: 1,
            }),
            timeouts: plain(DataTimeouts { data_ms: 20_000 }),
            verify: plain(verify),
            mark: plain(Mark::default()),
        },
    }
}

/// A Service in clear at the address.
pub(crate) fn service(address: SocketAddr) -> postern_config::Backend {
    postern_config::Backend {
        display: format!("service acme/mailstore:{}", address.port()),
        target: Target::Addresses {
            addresses: vec![address.ip()],
            port: address.port(),
        },
        ..discard()
    }
}

fn discard() -> postern_config::Backend {
    postern_config::Backend {
        display: "discard".into(),
        routes: vec!["acme/mail".into()],
        target: Target::Discard,
        protocol: BackendProtocol::Smtp,
        tls: BackendTls {
            mode: BackendTlsMode::Disabled,
            ca_pem: vec![],
            server_name: None,
        },
        credential: None,
        proxy_protocol: None,
        multiple_recipients: MultipleRecipients::Together,
        traceparent: false,
    }
}

/// The first listener's policy.
pub(crate) fn enforced(snapshot: &mut Snapshot) -> &mut ListenerPolicy {
    &mut snapshot.config.listeners[0].enforced
}

/// The first rule.
pub(crate) fn first_rule(snapshot: &mut Snapshot) -> &mut Rule {
    &mut snapshot.config.routes[0].rules[0]
}

/// A section of MailPolicy `mail/strict`.
pub(crate) fn by_policy<T>(value: T) -> Sourced<T> {
    Sourced {
        policy: Some("mail/strict".into()),
        value,
    }
}

/// A self-signed certificate for the names, as PEM pair and as a root to trust.
pub(crate) fn certificate(names: &[&str]) -> (CertificateKey, CertificateDer<'static>) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let pair = CertificateKey {
        chain_pem: made.cert.pem(),
        key_pem: made.signing_key.serialize_pem(),
    };
    (pair, made.cert.der().clone())
}

/// TLS for the first listener with these certificates, by id.
pub(crate) fn with_tls(snapshot: &mut Snapshot, mode: TlsMode, pairs: &[(&str, &CertificateKey)]) {
    let certificates = pairs.iter().map(|(id, _)| (*id).to_owned()).collect();
    snapshot.config.listeners[0].tls = Some(Tls {
        mode,
        min_version: TlsVersion::V1_2,
        certificates,
    });
    let keys = pairs
        .iter()
        .map(|(id, pair)| ((*id).to_owned(), (*pair).clone()));
    snapshot.keys.certificates = keys.collect();
}
