//! The gateway under measurement: a process of its own, configured by files, watched in /proc.

use postern_cli::demo::{dns::DnsServer, signing::Signer, sink::Sink};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Kernel clock ticks a second (USER_HZ is 100 on every Linux that Rust knows).
const TICKS: f64 = 100.0;

/// The key of the gateway's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateKind {
    /// 2048 bits.
    Rsa,
    /// P-256.
    Ecdsa,
}

/// A gateway process with its neighbours.
pub struct Gateway {
    process: Child,
    address: SocketAddr,
    /// Where accepted mail goes.
    pub sink: Sink,
    _dns: DnsServer,
    _folder: tempfile::TempDir,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Gateway {
    /// Starts `postern run` and waits until it accepts connections. Without `checks` no domain has a
    /// record and the client is a trusted forwarder.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(
        binary: &Path,
        kind: CertificateKind,
        signer: &Signer,
        checks: bool,
    ) -> Self {
        let dns = DnsServer::start(&zone(signer, checks))
            .await
            .expect("DNS server");
        let sink = Sink::start(&[], false).await.expect("sink");
        let port = crate::ports::free_port();
        let admin = crate::ports::free_port();
        let folder = tempfile::tempdir().expect("temporary folder");
        let objects = objects(port, dns.address(), kind, checks);
        std::fs::write(folder.path().join("bench.yaml"), objects).expect("objects");
        let process = Command::new(binary)
            .args(["run", "--bind", "127.0.0.1", "--admin"])
            .arg(format!("127.0.0.1:{admin}"))
            .arg("--service")
            .arg(format!("mail/mailstore:25={}", sink.address()))
            .arg("-f")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log")).expect("log"))
            .spawn()
            .expect("postern run");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let gateway = Self {
            process,
            address,
            sink,
            _dns: dns,
            _folder: folder,
        };
        gateway.wait_until_ready().await;
        gateway
    }

    async fn wait_until_ready(&self) {
        let ready = || async { tokio::net::TcpStream::connect(self.address).await.is_ok() };
        let log = || std::fs::read_to_string(self._folder.path().join("log")).unwrap_or_default();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while !ready().await {
            assert!(
                tokio::time::Instant::now() < deadline,
                "no gateway: {}",
                log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// CPU time that it has used, seconds.
    ///
    /// # Panics
    /// When the process has ended.
    #[must_use]
    pub fn cpu_seconds(&self) -> f64 {
        let stat = self.proc_file("stat");
        // Field 2 is in brackets and may hold spaces; utime and stime are 14 and 15.
        let (_, fields) = stat.rsplit_once(')').expect("the command's name");
        let ticks: f64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<f64>().expect("ticks"))
            .sum();
        ticks / TICKS
    }

    /// A line of /proc/PID/status in kB: `VmRSS`, `VmHWM`.
    ///
    /// # Panics
    /// When the process has ended.
    #[must_use]
    pub fn memory_kb(&self, line: &str) -> f64 {
        let status = self.proc_file("status");
        let value = status
            .lines()
            .find_map(|text| text.strip_prefix(line))
            .expect("the line");
        let digits: String = value.chars().filter(char::is_ascii_digit).collect();
        digits.parse().expect("a number of kB")
    }

    fn proc_file(&self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.process.id()))
            .expect("the gateway runs")
    }
}

fn zone(signer: &Signer, checks: bool) -> String {
    if !checks {
        return "mail.sender.test. IN A 127.0.0.1\n".to_owned();
    }
    format!(
        "sender.test. IN TXT \"v=spf1 ip4:127.0.0.1 -all\"\n\
         _dmarc.sender.test. IN TXT \"v=DMARC1; p=reject\"\n\
         mail.sender.test. IN A 127.0.0.1\n\
         1.0.0.127.in-addr.arpa. IN PTR mail.sender.test.\n{}",
        signer.zone_line()
    )
}

fn objects(port: u16, dns: SocketAddr, kind: CertificateKind, checks: bool) -> String {
    let trusted = if checks { "[]" } else { "[127.0.0.0/8]" };
    let (chain, key) = certificate(kind);
    let indent = |pem: &str| {
        pem.lines().fold(String::new(), |mut text, line| {
            let _ = writeln!(text, "    {line}");
            text
        })
    };
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: tls, namespace: mail}}
type: kubernetes.io/tls
stringData:
  tls.crt: |
{}  tls.key: |
{}---
apiVersion: postern.dev/v1alpha1
kind: MailGateway
metadata: {{name: bench, namespace: mail}}
spec:
  hostname: mx1.acme.test
  listeners:
  - name: mx
    port: {port}
    protocol: SMTP
    tls: {{mode: Opportunistic, certificateRefs: [{{name: tls}}]}}
    allowedRoutes:
    - {{namespaces: {{from: Same}}, domains: [acme.test]}}
  resolver: {{nameservers: [\"{dns}\"]}}
---
apiVersion: postern.dev/v1alpha1
kind: MailRoute
metadata: {{name: acme, namespace: mail}}
spec:
  parentRefs: [{{name: bench}}]
  recipients: [acme.test]
  rules:
  - name: default
    verifyRecipients: None
    backends: [{{service: {{name: mailstore, port: 25}}, protocol: SMTP, weight: 1}}]
---
apiVersion: postern.dev/v1alpha1
kind: MailPolicy
metadata: {{name: limits, namespace: mail}}
spec:
  targetRefs: [{{kind: MailGateway, name: bench}}]
  defaults:
    limits: {{connections: 10000, connectionsPerNetwork: 10000, commands: 100000}}
    verify: {{trustedForwarders: {{networks: {trusted}}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: mailstore, namespace: mail}}
spec: {{ports: [{{name: smtp, port: 25}}]}}
",
        indent(&chain),
        indent(&key)
    )
}

fn certificate(kind: CertificateKind) -> (String, String) {
    let key = match kind {
        CertificateKind::Ecdsa => rcgen::KeyPair::generate(),
        CertificateKind::Rsa => {
            rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048)
        }
    }
    .expect("a key");
    let certificate = rcgen::CertificateParams::new(vec!["mx1.acme.test".to_owned()])
        .and_then(|params| params.self_signed(&key))
        .expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}
