//! Greeting, EHLO, STARTTLS and AUTH.

use super::*;

impl Machine for Opening {
    fn conversation(&mut self) -> &mut Conversation {
        Opening::conversation(self)
    }

    fn step(&mut self) -> Option<String> {
        match Opening::step(self) {
            Ok(Step::Wait) => None,
            Ok(Step::Ready) => Some("ready".to_owned()),
            Ok(Step::StartTls) => Some("tls".to_owned()),
            Err(error) => Some(format!("error: {error}")),
        }
    }
}

fn opening(protocol: Protocol, plan: &Plan, dialogue: &str) -> Opening {
    play(&mut Opening::new(protocol, plan.clone()), dialogue, 1);
    in_one_piece(protocol, plan, dialogue)
}

fn in_one_piece(protocol: Protocol, plan: &Plan, dialogue: &str) -> Opening {
    let mut opening = Opening::new(protocol, plan.clone());
    play(&mut opening, dialogue, usize::MAX);
    opening
}

fn plan(starttls: StartTls) -> Plan {
    Plan {
        hello: "mx1.example.com".into(),
        starttls,
        login: None,
    }
}

fn with_login(starttls: StartTls) -> Plan {
    let login = Login {
        username: "relay".into(),
        password: "secret".into(),
    };
    Plan {
        login: Some(login),
        ..plan(starttls)
    }
}

#[test]
fn greeting_and_ehlo() {
    let opening = opening(
        Protocol::Smtp,
        &plan(StartTls::IfOffered),
        "S: 220-mail.acme.test ESMTP
         S: 220 be nice
         C: EHLO mx1.example.com
         S: 250-mail.acme.test
         S: 250-pipelining
         S: 250-SIZE 1000
         S: 250-8BITMIME
         S: 250-AUTH=LOGIN PLAIN
         S: 250 X-UNKNOWN a b
         E: ready",
    );
    let conversation = opening.into_conversation();
    let offered = conversation.extensions();
    assert!(offered.pipelining && offered.eight_bit_mime && offered.auth_plain);
    assert!(!offered.smtputf8 && !offered.starttls);
    assert_eq!(offered.size, SizeLimit::Limit(1000));
    assert_eq!(conversation.reuse(), Reuse::Ready);
}

#[test]
fn size_without_a_number_is_no_limit() {
    for said in ["SIZE", "SIZE 0", "SIZE x"] {
        let text = format!("acme.test\n{said}");
        let offered = Extensions::parse(&Reply {
            code: 250,
            enhanced: None,
            text,
        });
        assert_eq!(offered.size, SizeLimit::Unlimited, "{said}");
        assert!(offered.takes_size(u64::MAX));
    }
}

#[test]
fn lhlo_has_no_fall_back() {
    opening(
        Protocol::Lmtp,
        &plan(StartTls::Never),
        "S: 220 store
         C: LHLO mx1.example.com
         S: 500 what?
         E: error: the backend refuses EHLO: 500",
    );
}

#[test]
fn a_server_that_does_not_know_ehlo_is_greeted_with_helo_once() {
    opening(
        Protocol::Smtp,
        &plan(StartTls::IfOffered),
        "S: 220 old
         C: EHLO mx1.example.com
         S: 502 no
         C: HELO mx1.example.com
         S: 250 old
         E: ready",
    );
    opening(
        Protocol::Smtp,
        &plan(StartTls::IfOffered),
        "S: 220 old
         C: EHLO mx1.example.com
         S: 502 no
         C: HELO mx1.example.com
         S: 502 no
         E: error: the backend refuses EHLO: 502",
    );
}

#[test]
fn helo_offers_nothing() {
    let opening = opening(
        Protocol::Smtp,
        &plan(StartTls::IfOffered),
        "S: 220 old
         C: EHLO mx1.example.com
         S: 502 no
         C: HELO mx1.example.com
         S: 250-old
         S: 250-PIPELINING
         S: 250-SIZE 10
         S: 250 STARTTLS
         E: ready",
    );
    assert_eq!(
        *opening.into_conversation().extensions(),
        Extensions::default()
    );
}

#[test]
fn keywords_in_odd_forms() {
    let opening = opening(
        Protocol::Smtp,
        &plan(StartTls::Never),
        "S: 220 mail
         C: EHLO mx1.example.com
         S: 250-2.0.0 mail
         S: 250-2.0.0 PIPELINING
         S: 250-  8bitmime \t
         S: 250-size=1000 2000
         S: 250-
         S: 250-SMTPUTF8x
         S: 250-XSTARTTLS STARTTLS
         S: 250-AUTH CRAM-MD5
         S: 250 AUTH=plain
         E: ready",
    );
    let conversation = opening.into_conversation();
    let offered = conversation.extensions();
    assert!(offered.pipelining && offered.eight_bit_mime && offered.auth_plain);
    assert!(!offered.smtputf8 && !offered.starttls);
    assert_eq!(offered.size, SizeLimit::Limit(1000));
}

#[test]
fn starttls_greets_anew_and_forgets_what_was_offered() {
    let mut opening = opening(
        Protocol::Smtp,
        &plan(StartTls::Required),
        "S: 220 mail
         C: EHLO mx1.example.com
         S: 250-mail
         S: 250-PIPELINING
         S: 250 STARTTLS
         C: STARTTLS
         S: 220 go ahead
         E: tls",
    );
    opening.tls_established();
    assert!(!opening.conversation().extensions().pipelining);
    assert_eq!(opening.conversation().output(), b"EHLO mx1.example.com\r\n");
    opening.conversation().written();
    opening.conversation().receive(b"250 mail\r\n");
    assert_eq!(opening.step(), Ok(Step::Ready));
}

#[test]
fn octets_before_the_handshake_were_injected() {
    in_one_piece(
        Protocol::Smtp,
        &plan(StartTls::IfOffered),
        "S: 220 mail
         C: EHLO mx1.example.com
         S: 250-mail
         S: 250 STARTTLS
         C: STARTTLS
         S: 220 go ahead
         S: 250 mail
         E: error: the backend sent octets between the reply to STARTTLS and the handshake",
    );
}

#[test]
fn opportunistic_goes_on_in_clear_when_starttls_is_refused() {
    opening(
        Protocol::Smtp,
        &plan(StartTls::IfOffered),
        "S: 220 mail
         C: EHLO mx1.example.com
         S: 250-mail
         S: 250 STARTTLS
         C: STARTTLS
         S: 454 4.7.0 no certificate
         E: ready",
    );
}

#[test]
fn required_tls_is_required() {
    opening(
        Protocol::Smtp,
        &plan(StartTls::Required),
        "S: 220 mail
         C: EHLO mx1.example.com
         S: 250 mail
         E: error: the backend does not offer STARTTLS",
    );
    opening(
        Protocol::Smtp,
        &plan(StartTls::Required),
        "S: 220 mail
         C: EHLO mx1.example.com
         S: 250-mail
         S: 250 STARTTLS
         C: STARTTLS
         S: 454 4.7.0 no certificate
         E: error: the backend refuses STARTTLS: 454 4.7.0",
    );
}

#[test]
fn a_password_needs_tls_and_plain() {
    opening(
        Protocol::Smtp,
        &with_login(StartTls::IfOffered),
        "S: 220 mail
         C: EHLO mx1.example.com
         S: 250-mail
         S: 250 AUTH PLAIN
         E: error: a password is not sent without TLS",
    );
    opening(
        Protocol::Smtp,
        &with_login(StartTls::Implicit),
        "S: 220 mail
         C: EHLO mx1.example.com
         S: 250-mail
         S: 250 AUTH LOGIN
         E: error: the backend does not offer AUTH PLAIN",
    );
}

#[test]
fn login_over_implicit_tls() {
    let accepted = "S: 220 mail
         C: EHLO mx1.example.com
         S: 250-mail
         S: 250 AUTH PLAIN
         C: AUTH PLAIN AHJlbGF5AHNlY3JldA==
         S: 235 2.7.0 welcome
         E: ready";
    opening(Protocol::Smtp, &with_login(StartTls::Implicit), accepted);
    let asked = accepted.replace("S: 235", "S: 334 \n C: AHJlbGF5AHNlY3JldA==\n S: 235");
    opening(Protocol::Smtp, &with_login(StartTls::Implicit), &asked);
    let refused = accepted
        .replace("235 2.7.0 welcome", "535 5.7.8 no")
        .replace("E: ready", "E: error: the backend refuses AUTH: 535 5.7.8");
    opening(Protocol::Smtp, &with_login(StartTls::Implicit), &refused);
}

#[test]
fn a_server_that_asks_for_ever_is_nonsense() {
    opening(
        Protocol::Smtp,
        &with_login(StartTls::Implicit),
        "S: 220 mail
         C: EHLO mx1.example.com
         S: 250-mail
         S: 250 AUTH PLAIN
         C: AUTH PLAIN AHJlbGF5AHNlY3JldA==
         S: 334 
         C: AHJlbGF5AHNlY3JldA==
         S: 334 
         E: error: the backend sent 334 in reply to AUTH",
    );
}

#[test]
fn greetings_that_refuse() {
    for (greeting, end) in [
        (
            "554 5.7.1 no",
            "error: the backend refuses the connection: 554 5.7.1",
        ),
        (
            "450 later",
            "error: the backend refuses the connection: 450",
        ),
        (
            "421 4.3.2 going",
            "error: the backend closes the connection: 421 4.3.2",
        ),
        (
            "354 data?",
            "error: the backend sent 354 in reply to the connection",
        ),
        (
            "SSH-2.0-OpenSSH",
            "error: the backend sent a line that is no reply",
        ),
    ] {
        let dialogue = format!("S: {greeting}\n E: {end}");
        opening(Protocol::Smtp, &plan(StartTls::Never), &dialogue);
    }
}

#[test]
fn the_password_is_not_shown() {
    assert!(!format!("{:?}", with_login(StartTls::Implicit)).contains("secret"));
}
