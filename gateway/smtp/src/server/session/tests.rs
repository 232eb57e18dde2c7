//! The session's behaviour towards its driver: order of answers, groups, back-pressure, what a
//! reset tells; and that it makes no difference how the input is cut. (What the client sees is in
//! the dialogues.)

use super::*;
use crate::reply::{Enhanced, PermanentCode, TransientCode};
use crate::server::BareNewlines;
use proptest::prelude::*;

fn settings() -> Settings {
    Settings {
        hostname: "mx.example.com".to_owned(),
        starttls: StartTls::Offered,
        size: 10_000,
        commands: 1_000_000,
        errors: 1_000_000,
        rcptmax: None,
    }
}

fn transaction() -> Transaction {
    Transaction {
        size: 100,
        recipients: 3,
        bare_newlines_data: BareNewlines::Reject,
        bare_newlines_bdat: BareNewlines::Reject,
    }
}

fn no_such_user() -> Refusal {
    Refusal::permanent(
        PermanentCode::MailboxUnavailable,
        Enhanced(1, 1),
        "no such user",
    )
}

fn greeted() -> Session {
    let mut session = Session::new(settings());
    session.greet();
    let events = say(&mut session, "EHLO client.example\r\n");
    assert!(matches!(events.as_slice(), [Event::Helo(_)]));
    session.helo(Ok(()));
    sent(&mut session);
    session
}

fn in_transaction() -> Session {
    let mut session = greeted();
    say(&mut session, "MAIL FROM:<a@client.example>\r\n");
    session.mail(Ok(transaction()));
    sent(&mut session);
    session
}

fn in_data() -> Session {
    let mut session = in_transaction();
    say(&mut session, "RCPT TO:<b@acme.test>\r\n");
    session.rcpt(1, Ok(()));
    say(&mut session, "DATA\r\n");
    session.data(Ok(()));
    sent(&mut session);
    session
}

fn say(session: &mut Session, text: &str) -> Vec<Event> {
    assert_eq!(session.receive(text.as_bytes()), text.len());
    std::iter::from_fn(|| session.poll()).collect()
}

fn sent(session: &mut Session) -> String {
    let mut text = Vec::new();
    while let Some(event) = session.poll() {
        match event {
            Event::Send(octets) => text.extend_from_slice(&octets),
            other => panic!("{other:?}"),
        }
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn a_pipelined_group_is_handed_out_together_and_answered_in_any_order() {
    let mut session = in_transaction();
    let events = say(
        &mut session,
        "RCPT TO:<b@acme.test>\r\nRCPT TO:<c@acme.test>\r\nRCPT TO:<bad\r\nDATA\r\n",
    );
    assert!(matches!(
        events.as_slice(),
        [Event::Rcpt(_), Event::Rcpt(_), Event::RcptGroup]
    ));
    assert!(session.awaits_answer());
    session.rcpt(2, Err(no_such_user()));
    assert_eq!(
        session.poll(),
        None,
        "a reply does not overtake the one before it"
    );
    session.rcpt(1, Ok(()));
    assert_eq!(
        session.poll(),
        Some(Event::Data(crate::server::Framing::Data))
    );
    session.data(Ok(()));
    assert_eq!(
        sent(&mut session),
        "250 2.1.5 Recipient ok\r\n550 5.1.1 no such user\r\n\
         501 5.1.3 Bad recipient address: the domain is missing\r\n\
         354 Start mail input; end with <CRLF>.<CRLF>\r\n"
    );
}

#[test]
fn ready_replies_leave_at_once_when_the_driver_asks() {
    let mut session = in_transaction();
    say(
        &mut session,
        "RCPT TO:<b@acme.test>\r\nRCPT TO:<c@acme.test>\r\n",
    );
    session.rcpt(1, Ok(()));
    assert_eq!(session.poll(), None);
    session.flush();
    assert_eq!(
        session.poll(),
        Some(Event::Send("250 2.1.5 Recipient ok\r\n".into()))
    );
    session.rcpt(2, Ok(()));
    assert_eq!(sent(&mut session), "250 2.1.5 Recipient ok\r\n");
}

#[test]
fn whether_one_more_recipient_fits_waits_for_those_before_it() {
    let mut session = in_transaction();
    let events = say(&mut session, &"RCPT TO:<b@acme.test>\r\n".repeat(5));
    assert_eq!(
        events
            .iter()
            .filter(|event| matches!(event, Event::Rcpt(_)))
            .count(),
        3
    );
    session.rcpt(2, Ok(()));
    assert_eq!(session.poll(), None);
    session.rcpt(1, Err(no_such_user()));
    assert!(matches!(session.poll(), Some(Event::Rcpt(_))));
    assert_eq!(session.poll(), Some(Event::RcptGroup));
    session.rcpt(3, Ok(()));
    session.rcpt(4, Ok(()));
    assert!(
        sent(&mut session)
            .ends_with("452 4.5.3 Too many recipients; send the others in another transaction\r\n")
    );
}

#[test]
fn thousands_of_recipients_are_asked_about_in_bounded_groups() {
    let mut session = greeted();
    say(&mut session, "MAIL FROM:<a@client.example>\r\n");
    session.mail(Ok(Transaction {
        recipients: 2_000,
        ..transaction()
    }));
    sent(&mut session);
    let commands = "RCPT TO:<b@acme.test>\r\n".repeat(2_500);
    let (mut rest, mut replies, mut largest) = (commands.as_bytes(), Vec::new(), 0);
    loop {
        rest = &rest[session.receive(rest)..];
        let mut asked = Vec::new();
        while let Some(event) = session.poll() {
            match event {
                Event::Rcpt(rcpt) => asked.push(rcpt.id),
                Event::RcptGroup => {}
                Event::Send(octets) => replies.extend_from_slice(&octets),
                other => panic!("{other:?}"),
            }
        }
        if rest.is_empty() && asked.is_empty() {
            break;
        }
        largest = largest.max(asked.len());
        asked.into_iter().for_each(|id| session.rcpt(id, Ok(())));
    }
    assert!((100..=1_000).contains(&largest), "{largest}");
    let replies = String::from_utf8(replies).unwrap();
    let count = |code: &str| {
        replies
            .lines()
            .filter(|line| line.starts_with(code))
            .count()
    };
    assert_eq!((count("250 2.1.5"), count("452 4.5.3")), (2_000, 500));
}

#[test]
fn answers_that_nobody_awaits_change_nothing() {
    let mut session = greeted();
    session.helo(Ok(()));
    session.mail(Ok(transaction()));
    session.rcpt(1, Ok(()));
    session.data(Ok(()));
    session.message(Ok(Accepted {
        text: String::new(),
    }));
    session.tls_established();
    session.greet();
    assert_eq!(session.poll(), None);
    assert_eq!(session.state(), State::Mail);
}

#[test]
fn a_late_answer_does_not_reach_the_next_transaction() {
    let mut session = in_transaction();
    say(&mut session, "RCPT TO:<b@acme.test>\r\n");
    session.rcpt(1, Ok(()));
    say(&mut session, "RSET\r\nMAIL FROM:<a@client.example>\r\n");
    session.mail(Ok(transaction()));
    sent(&mut session);
    say(&mut session, "RCPT TO:<c@acme.test>\r\n");
    session.rcpt(1, Err(no_such_user()));
    assert_eq!(session.poll(), None);
    session.rcpt(2, Ok(()));
    assert_eq!(sent(&mut session), "250 2.1.5 Recipient ok\r\n");
}

#[test]
fn input_is_bounded_while_an_answer_is_awaited() {
    let mut session = greeted();
    say(&mut session, "MAIL FROM:<a@client.example>\r\n");
    let octets = "NOOP\r\n".repeat(10_000);
    let mut taken = 0;
    while session.wants_input() {
        taken += session.receive(&octets.as_bytes()[taken..]);
        assert_eq!(session.poll(), None);
    }
    assert!(taken < 10_000, "{taken}");
    assert_eq!(session.buffered(), taken);
    assert_eq!(session.receive(b"x"), 0);
    session.mail(Ok(transaction()));
    assert!(sent(&mut session).starts_with("250 2.1.0 Sender ok\r\n250 2.0.0 Ok\r\n"));
    assert!(session.wants_input());
}

#[test]
fn a_reset_tells_which_refusal_ended_the_transaction() {
    let refused = |events: &[Event]| match events {
        [.., Event::Reset(Some(refusal))] => refusal.to_string(),
        other => panic!("{other:?}"),
    };
    let events = say(&mut in_data(), &"x".repeat(101));
    assert!(refused(&events).starts_with("552 5.3.4"));
    let events = say(&mut in_data(), "a\nb");
    assert!(refused(&events).starts_with("550 5.6.0"));

    let mut session = in_data();
    let busy = Refusal::transient(TransientCode::InsufficientStorage, Enhanced(3, 1), "busy");
    session.refuse_data(busy.clone());
    session.refuse_data(no_such_user());
    assert_eq!(session.poll(), Some(Event::Reset(Some(busy))));
    assert_eq!(session.state(), State::Data(DataState::Swallowing));
    assert_eq!(
        say(&mut session, "x\r\n.\r\n"),
        [Event::Send("452 4.3.1 busy\r\n".into())]
    );

    let mut session = in_transaction();
    session.timed_out();
    let events: Vec<_> = std::iter::from_fn(|| session.poll()).collect();
    let [
        Event::Reset(Some(refusal)),
        Event::Send(_),
        Event::Close(CloseReason::Refused),
    ] = events.as_slice()
    else {
        panic!("{events:?}");
    };
    assert!(refusal.to_string().starts_with("421 4.4.2"));
    assert_eq!(
        say(&mut in_transaction(), "RSET\r\n")[0],
        Event::Reset(None)
    );
}

#[test]
fn states_are_told_for_timeouts() {
    let mut session = Session::new(settings());
    assert_eq!(
        (session.state(), session.awaits_answer()),
        (State::Connection, true)
    );
    session.greet();
    assert_eq!(
        (session.state(), session.awaits_answer()),
        (State::Helo, false)
    );
    assert_eq!(greeted().state(), State::Mail);
    assert_eq!(in_transaction().state(), State::Rcpt);
    let mut session = in_data();
    assert_eq!(session.state(), State::Data(DataState::Receiving));
    say(&mut session, "a\nb");
    assert_eq!(session.state(), State::Data(DataState::Untrusted));
    let mut session = in_data();
    say(&mut session, ".\r\n");
    assert_eq!(session.state(), State::Data(DataState::Message));
    assert!(session.awaits_answer());
}

#[test]
fn nothing_is_read_behind_the_end() {
    let mut session = greeted();
    say(&mut session, "QUIT\r\n");
    assert_eq!(session.state(), State::Closed);
    assert_eq!(session.receive(b"NOOP\r\n"), 6);
    assert_eq!(
        (session.poll(), session.buffered(), session.wants_input()),
        (None, 0, false)
    );
}

/// What a client and a gateway see of a session, however its input was cut.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    sent: Vec<u8>,
    /// All events but replies and groups; pieces of a body joined.
    events: Vec<String>,
    body: Vec<u8>,
}

fn play(input: &[u8], pieces: &[usize]) -> Seen {
    let mut session = Session::new(settings());
    session.greet();
    let mut seen = Seen::default();
    let mut sizes = pieces.iter().copied().chain(std::iter::repeat(usize::MAX));
    let mut rest = input;
    loop {
        while let Some(event) = session.poll() {
            seen.note(&event);
            answer(&mut session, event);
        }
        if rest.is_empty() {
            return seen;
        }
        let size = sizes.next().unwrap().clamp(1, rest.len());
        rest = &rest[session.receive(&rest[..size])..];
    }
}

impl Seen {
    fn note(&mut self, event: &Event) {
        match event {
            Event::Send(octets) => self.sent.extend_from_slice(octets),
            Event::RcptGroup => {}
            Event::Body(octets) => self.body.extend_from_slice(octets),
            other => {
                let body = std::mem::take(&mut self.body);
                if !body.is_empty() {
                    self.events
                        .push(format!("Body {:?}", body.escape_ascii().to_string()));
                }
                self.events.push(format!("{other:?}"));
            }
        }
    }
}

fn answer(session: &mut Session, event: Event) {
    match event {
        Event::Helo(_) => session.helo(Ok(())),
        Event::Mail(_) => session.mail(Ok(transaction())),
        Event::Rcpt(rcpt) if rcpt.forward_path.to_string().contains("nobody") => {
            session.rcpt(rcpt.id, Err(no_such_user()));
        }
        Event::Rcpt(rcpt) => session.rcpt(rcpt.id, Ok(())),
        Event::Data(_) => session.data(Ok(())),
        Event::Message(_) => session.message(Ok(Accepted {
            text: "taken".to_owned(),
        })),
        _ => {}
    }
}

/// Lines of which many make sense one behind the other.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        2 => Just("EHLO client.example\r\n"),
        1 => Just("HELO bad_\r\n"),
        6 => Just("MAIL FROM:<a@client.example>\r\n"),
        1 => Just("MAIL FROM:<> SIZE=101\r\n"),
        6 => Just("RCPT TO:<b@acme.test>\r\n"),
        2 => Just("RCPT TO:<nobody@acme.test>\r\n"),
        1 => Just("RCPT TO:<\r\n"),
        5 => Just("DATA\r\n"),
        4 => Just("BDAT 7\r\n"),
        2 => Just("BDAT 5 LAST\r\n"),
        1 => Just("BDAT 0 LAST\r\n"),
        1 => Just("BDAT 200\r\n"),
        1 => Just("BDAT x\r\n"),
        2 => Just("RSET\r\n"),
        1 => Just("NOOP\r\n"),
        1 => Just("STARTTLS\r\n"),
        1 => Just("QUIT\r\n"),
        4 => Just(".\r\n"),
        2 => Just("..text\r\n"),
        2 => Just("text"),
        1 => Just("\r"),
        1 => Just("\n"),
        1 => Just("\0"),
    ];
    let start = "EHLO client.example\r\nMAIL FROM:<a@client.example>\r\nRCPT TO:<b@acme.test>\r\n";
    (any::<bool>(), proptest::collection::vec(line, 0..30)).prop_map(move |(begun, lines)| {
        [if begun { start } else { "" }, &lines.concat()]
            .concat()
            .into_bytes()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn how_the_input_is_cut_makes_no_difference(
        input in input(),
        pieces in proptest::collection::vec(1..40_usize, 0..60),
    ) {
        let whole = play(&input, &[]);
        prop_assert_eq!(&play(&input, &pieces), &whole);
        prop_assert_eq!(&play(&input, &vec![1; input.len()]), &whole);
    }

    #[test]
    fn any_octets_are_answered(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
        let whole = play(&octets, &[]);
        prop_assert!(whole.sent.starts_with(b"220 "));
    }
}
