//! Envelopes against a backend that is strict about the order of commands: whatever it answers,
//! with PIPELINING or without, however its octets are cut, the end is the same.

use super::*;
use crate::address::{Mailbox, ReversePath};
use proptest::prelude::*;

/// What the backend answers, and where it stands.
#[derive(Debug, Clone)]
struct Backend {
    mail: u16,
    rcpt: Vec<u16>,
    data: u16,
    /// Recipients that were named.
    named: usize,
    taken: usize,
    /// A transaction is open.
    open: bool,
    /// 354 was said: what comes next is a message.
    in_data: bool,
}

impl Backend {
    fn answer(&mut self, command: &str) -> u16 {
        assert!(!self.in_data, "{command} within a message");
        match command.get(..4) {
            Some("RSET") => {
                self.open = false;
                250
            }
            Some("MAIL") => {
                assert!(!self.open, "MAIL within a transaction");
                self.open = self.mail == 250;
                self.mail
            }
            Some("RCPT") if !self.open => 503,
            Some("RCPT") => {
                let code = self.rcpt[self.named];
                self.named += 1;
                self.taken += usize::from(code / 100 == 2);
                code
            }
            Some("DATA") if self.taken == 0 => 503,
            Some("DATA") => {
                self.in_data = self.data == 354;
                self.data
            }
            _ => panic!("{command}"),
        }
    }
}

fn ready(pipelining: bool) -> Conversation {
    let plan = Plan {
        hello: "mx1".into(),
        starttls: StartTls::Never,
        login: None,
    };
    let offered = if pipelining {
        "250-m\r\n250 PIPELINING\r\n"
    } else {
        "250 m\r\n"
    };
    let mut opening = Opening::new(Protocol::Smtp, plan);
    for said in ["220 m\r\n", offered] {
        opening.conversation().receive(said.as_bytes());
        opening.step().unwrap();
        opening.conversation().written();
    }
    opening.into_conversation()
}

/// Plays an envelope to its end; the backend's replies come in pieces of so many octets.
fn play(
    conversation: &mut Conversation,
    backend: &mut Backend,
    ending: Ending,
    piece: usize,
) -> EnvelopeAnswer {
    let mail = super::Mail {
        reverse_path: &ReversePath::Null,
        size: None,
        eight_bit_mime: false,
        smtputf8: false,
    };
    let recipients: Vec<Mailbox> = (0..backend.rcpt.len())
        .map(|n| format!("u{n}@acme.test").parse().unwrap())
        .collect();
    let one_by_one = !conversation.extensions().pipelining;
    let mut envelope = Envelope::new(conversation, &mail, &recipients, ending).unwrap();
    let mut replies = Vec::new();
    loop {
        if let Some(answer) = envelope.step(conversation).unwrap() {
            assert!(replies.is_empty() && conversation.output().is_empty());
            return answer;
        }
        let output = String::from_utf8(conversation.output().to_vec()).unwrap();
        conversation.written();
        let commands: Vec<&str> = output.split_terminator("\r\n").collect();
        assert!(!one_by_one || commands.len() <= usize::from(replies.is_empty()));
        for command in commands {
            replies.extend(format!("{} x\r\n", backend.answer(command)).into_bytes());
        }
        assert!(!replies.is_empty(), "it waits for nothing");
        let octets: Vec<u8> = replies.drain(..piece.min(replies.len())).collect();
        conversation.receive(&octets);
    }
}

/// The answer that the backend's codes make.
fn is_right(answer: &EnvelopeAnswer, backend: &Backend, ending: Ending) -> bool {
    let all_taken = backend.rcpt.iter().all(|code| code / 100 == 2);
    match answer {
        EnvelopeAnswer::MailRefused(reply) => reply.code == backend.mail && backend.mail != 250,
        EnvelopeAnswer::Recipients(replies) => {
            let codes: Vec<u16> = replies.iter().map(|reply| reply.code).collect();
            codes == backend.rcpt && (ending == Ending::Reset || !all_taken)
        }
        EnvelopeAnswer::DataRefused(reply) => all_taken && reply.code == backend.data,
        EnvelopeAnswer::GoAhead => all_taken && ending == Ending::Data && backend.data == 354,
    }
}

fn backend() -> impl Strategy<Value = Backend> {
    let mail = prop_oneof![4 => Just(250), 1 => Just(450), 1 => Just(550)];
    let rcpt = prop_oneof![9 => Just(250), 1 => Just(251), 1 => Just(450), 1 => Just(550)];
    let many = prop_oneof![
        2 => prop::collection::vec(rcpt, 1..150),
        1 => (1_usize..150).prop_map(|recipients| vec![250; recipients]),
    ];
    let data = prop_oneof![2 => Just(354), 1 => Just(451), 1 => Just(554)];
    (mail, many, data).prop_map(|(mail, rcpt, data)| Backend {
        mail,
        rcpt,
        data,
        named: 0,
        taken: 0,
        open: false,
        in_data: false,
    })
}

proptest! {
    #[test]
    fn envelopes_end_alike_with_and_without_pipelining(
        backends in prop::collection::vec(backend(), 1..4),
        ask in any::<bool>(),
        pipelining in any::<bool>(),
        piece in 1_usize..600,
    ) {
        let ending = if ask { Ending::Reset } else { Ending::Data };
        let mut conversation = ready(pipelining);
        let mut open = false;
        for mut backend in backends {
            backend.open = open;
            let answer = play(&mut conversation, &mut backend, ending, piece);
            prop_assert!(is_right(&answer, &backend, ending), "{:?}: {:?}", backend, answer);
            let reuse = conversation.reuse();
            prop_assert_eq!(reuse == Reuse::Never, backend.in_data);
            prop_assert!(reuse != Reuse::Ready || !backend.open);
            if reuse == Reuse::Never {
                break;
            }
            open = backend.open;
        }
    }
}
