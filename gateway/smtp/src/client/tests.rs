//! The client against dialogues: `C:` is what it writes, `S:` what the backend says, `E:` the end.
//!
//! Every dialogue runs twice: the backend's octets in one piece, and one by one.

mod envelope;
mod model;
mod opening;
mod reply;
mod stuffing;

use super::*;

/// A machine with its end as text.
trait Machine {
    fn conversation(&mut self) -> &mut Conversation;
    fn step(&mut self) -> Option<String>;
}

/// Plays a dialogue with a machine; `piece` octets of the backend come at once.
fn play(machine: &mut dyn Machine, dialogue: &str, piece: usize) {
    let mut end = machine.step();
    for (said, answered) in turns(dialogue) {
        for octets in said.as_bytes().chunks(piece) {
            assert_eq!(
                end, None,
                "it ended before the backend was done:\n{dialogue}"
            );
            machine.conversation().receive(octets);
            end = machine.step();
        }
        let output = String::from_utf8_lossy(machine.conversation().output()).into_owned();
        assert_eq!(output, answered, "{dialogue}");
        machine.conversation().written();
    }
    let wanted = dialogue
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("E: "));
    assert_eq!(end.as_deref(), wanted, "{dialogue}");
}

/// What the backend says, then what the client answers, turn by turn.
fn turns(dialogue: &str) -> Vec<(String, String)> {
    let mut turns = vec![(String::new(), String::new())];
    for line in dialogue.lines().map(str::trim_start) {
        let last = turns.len() - 1;
        if let Some(said) = line.strip_prefix("S: ") {
            if !turns[last].1.is_empty() {
                turns.push((String::new(), String::new()));
            }
            let last = turns.len() - 1;
            turns[last].0 += &format!("{said}\r\n");
        } else if let Some(answered) = line.strip_prefix("C: ") {
            turns[last].1 += &format!("{answered}\r\n");
        }
    }
    turns
}
