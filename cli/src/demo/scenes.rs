//! The mails of the demonstration: what is sent, and what must become of it.

use std::net::{IpAddr, Ipv4Addr};

/// The host that sender.test's SPF record allows.
pub(super) const GENUINE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 10));
/// A host that nobody's record allows.
pub(super) const FORGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 66));
/// The local part that the backend refuses.
pub(super) const UNKNOWN: &str = "nobody";

/// The zone of the demonstration; the key of sender.test is added when it is made. Reverse names of
/// loopback are not in it: no resolver asks for them (RFC 6761 §6.3), so iprev fails here.
pub(super) const ZONE: &str = r#"
sender.test.                  IN TXT "v=spf1 ip4:127.0.0.10 -all"
sender.test.                  IN MX  10 mail.sender.test.
mail.sender.test.             IN A   127.0.0.10
_dmarc.sender.test.           IN TXT "v=DMARC1; p=reject"
bank.test.                    IN TXT "v=spf1 ip4:192.0.2.25 -all"
_dmarc.bank.test.             IN TXT "v=DMARC1; p=reject"
acme.test.                    IN MX  10 mx1.acme.test.
mx1.acme.test.                IN A   127.0.0.1
"#;

/// What is done in a scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// A mail signed by sender.test, from its own host.
    Genuine,
    /// From a bank, from a host that the bank does not know.
    Forged,
    /// A signed mail whose body was changed on its way, from a host that is not allowed.
    Broken,
    /// To a user whom the backend does not know.
    UnknownUser,
    /// Larger than the policy allows.
    TooLarge,
    /// The connection ends in the middle of the message.
    CutOff,
}

/// A scene and what must come of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene {
    /// What a person reads above it.
    pub(super) title: &'static str,
    /// What is done.
    pub(super) act: Act,
    /// The code and the beginning of the text of the reply that decides; `None`: there is none.
    pub(super) reply: Option<(u16, &'static str)>,
    /// Whether the backend must have it.
    pub(super) delivered: bool,
}

/// All scenes, in their order.
pub(super) const SCENES: [Scene; 6] = [
    Scene {
        title: "a genuine mail, signed with DKIM",
        act: Act::Genuine,
        reply: Some((250, "2.0.0")),
        delivered: true,
    },
    Scene {
        title: "a forged mail: From says bank.test, the host is not the bank's",
        act: Act::Forged,
        reply: Some((550, "5.7.26")),
        delivered: false,
    },
    Scene {
        title: "a signed mail that was changed on its way",
        act: Act::Broken,
        reply: Some((550, "5.7.26")),
        delivered: false,
    },
    Scene {
        title: "a mail to an unknown user: the backend is asked at RCPT",
        act: Act::UnknownUser,
        reply: Some((550, "5.1.1")),
        delivered: false,
    },
    Scene {
        title: "a mail that is too large",
        act: Act::TooLarge,
        reply: Some((552, "5.3.4")),
        delivered: false,
    },
    Scene {
        title: "a connection that is cut in the middle of the message",
        act: Act::CutOff,
        reply: None,
        delivered: false,
    },
];

/// A mail to bob@acme.test.
#[must_use]
pub(super) fn mail(from: &str, subject: &str, body: &str) -> String {
    // A fixed date keeps the text the same in every run; nothing checks it against the clock.
    format!(
        "From: <{from}>\r\nTo: <bob@acme.test>\r\nSubject: {subject}\r\n\
         Date: Sun, 22 Nov 2026 12:00:00 +0000\r\nMessage-ID: <{}@sender.test>\r\n\r\n{body}\r\n",
        subject.to_ascii_lowercase().replace(' ', "-"),
    )
}
