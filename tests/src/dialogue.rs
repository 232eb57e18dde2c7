//! Dialogues: SMTP sessions as text, `C:` and `S:` line by line (`tests/dialogues/README.md`).
//!
//! In: the text of a `.smtp` file. Out: a [`Dialogue`]: what the server is set to, what it answers
//! to the questions of a session, and the [`Step`]s in order. Playing one is the caller's: the same
//! file runs against the session without a socket and against the binary over one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialogue {
    /// Where it stands.
    pub path: PathBuf,
    /// Its first comment.
    pub title: String,
    /// The header's settings by their name, as written.
    pub settings: BTreeMap<String, String>,
    /// The header's answers.
    pub answers: Answers,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// What the server's deciding parts answer; what is not named here is accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// `connect: 554 5.7.1 text`, in place of the greeting.
    pub connect: Option<Said>,
    /// `helo NAME: ...`, by the name in EHLO or HELO.
    pub helo: BTreeMap<String, Said>,
    /// `mail ADDRESS: ...`, by the address without angle brackets; `<>` for the null path.
    pub mail: BTreeMap<String, Said>,
    /// `rcpt ADDRESS: ...`, by the address without angle brackets.
    pub rcpt: BTreeMap<String, Said>,
    /// `data: ...`, to DATA or the first BDAT.
    pub data: Option<Said>,
    /// `message: ...`, at the end of the message; 250 gives the text of the acceptance.
    pub message: Option<Said>,
}

/// A reply as a header line says it: `550 5.1.1 no such user`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The three digits.
    pub code: u16,
    /// Subject and detail of the enhanced code; its class is the code's first digit.
    pub enhanced: (u16, u16),
    /// The text.
    pub text: String,
}

/// One step and the line where it begins, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The line.
    pub line: usize,
    /// What to do, or to expect.
    pub action: Action,
}

/// What a step does or expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// `C:` and `C|` lines without another line between them: octets of the client, to be sent in
    /// one packet, and once more octet by octet.
    Send(Vec<u8>),
    /// `S:` one line of the server, without its CRLF.
    Expect(Pattern),
    /// `S+` a whole reply, of one line or more, by its code.
    ExpectReply(String),
    /// `T:` the client begins TLS and the handshake succeeds.
    Tls,
    /// `X:` the server closes.
    Close(Closing),
    /// `E:` the envelope of the next message, `FROM:<a@b> TO:<c@d> TO:<e@f>`.
    Envelope(String),
    /// `M:` and `M|` lines without another line between them: a message, octet by octet.
    Message(Vec<u8>),
    /// `!` something that happens to the session from the side of the server.
    Driver(Driver),
}

/// A line to expect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// This line.
    Exact(String),
    /// A line that begins so; written with a `*` at its end.
    Prefix(String),
}

/// How the server closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// After QUIT.
    Quit,
    /// After it refused to go on.
    Refused,
    /// It stops writing, and reads on for a while without answering.
    Drain,
}

/// What happens from the side of the server. Only a test that drives the session can do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Driver {
    /// `! shutdown`
    Shutdown,
    /// `! shutdown-now`
    ShutdownNow,
    /// `! timed-out`
    TimedOut,
    /// `! abort-data`
    AbortData,
    /// `! refuse-data 452 4.3.1 text`
    RefuseData(Said),
}

/// Why a file is no dialogue: `path:line: reason`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    path: PathBuf,
    line: usize,
    reason: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.reason)
    }
}

impl std::error::Error for Malformed {}

impl Pattern {
    /// Whether a line is as expected.
    #[must_use]
    pub fn matches(&self, line: &str) -> bool {
        match self {
            Self::Exact(text) => line == text,
            Self::Prefix(text) => line.starts_with(text.as_str()),
        }
    }
}

impl Dialogue {
    /// All `.smtp` files of a folder, by name.
    ///
    /// # Errors
    /// A file that cannot be read, or is no dialogue.
    pub fn read_folder(folder: &Path) -> Result<Vec<Self>, Box<dyn std::error::Error>> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "smtp")
            {
                paths.push(path);
            }
        }
        paths.sort();
        let read = |path: PathBuf| Ok(Self::parse(&path, &std::fs::read_to_string(&path)?)?);
        paths.into_iter().map(read).collect()
    }

    /// Reads a dialogue.
    ///
    /// # Errors
    /// The first line that is not by the format.
    pub fn parse(path: &Path, text: &str) -> Result<Self, Malformed> {
        let mut dialogue = Self {
            path: path.to_owned(),
            title: String::new(),
            settings: BTreeMap::new(),
            answers: Answers::default(),
            steps: Vec::new(),
        };
        let mut in_header = true;
        for (index, line) in text.lines().enumerate() {
            if let Some(comment) = line.strip_prefix('#') {
                if dialogue.title.is_empty() {
                    dialogue.title = comment.trim().to_owned();
                }
                dialogue.separate(index + 1);
                continue;
            }
            let read = match line {
                "" => Ok(()),
                "---" => {
                    in_header = false;
                    Ok(())
                }
                line if in_header => dialogue.header(line),
                line => dialogue.step(index + 1, line),
            };
            read.map_err(|reason| Malformed {
                path: path.to_owned(),
                line: index + 1,
                reason,
            })?;
        }
        dialogue
            .steps
            .retain(|step| step.action != Action::Send(Vec::new()));
        Ok(dialogue)
    }

    /// Whether only a test that drives the session itself can play it.
    #[must_use]
    pub fn needs_driver(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(step.action, Action::Driver(_)))
    }

    /// A comment parts what is sent in one packet.
    fn separate(&mut self, line: usize) {
        if matches!(
            self.steps.last(),
            Some(Step {
                action: Action::Send(_),
                ..
            })
        ) {
            self.steps.push(Step {
                line,
                action: Action::Send(Vec::new()),
            });
        }
    }

    fn header(&mut self, line: &str) -> Result<(), String> {
        let (name, value) = line.split_once(": ").ok_or("expected `name: value`")?;
        let answers = &mut self.answers;
        match name.split_once(' ') {
            Some(("helo", name)) => drop(answers.helo.insert(name.to_owned(), said(value)?)),
            Some(("mail", path)) => drop(answers.mail.insert(path.to_owned(), said(value)?)),
            Some(("rcpt", path)) => drop(answers.rcpt.insert(path.to_owned(), said(value)?)),
            Some(_) => return Err(format!("unknown header {name:?}")),
            None => match name {
                "connect" => answers.connect = Some(said(value)?),
                "data" => answers.data = Some(said(value)?),
                "message" => answers.message = Some(said(value)?),
                _ => drop(self.settings.insert(name.to_owned(), value.to_owned())),
            },
        }
        Ok(())
    }

    fn step(&mut self, line: usize, text: &str) -> Result<(), String> {
        let (kind, rest) = text.split_at_checked(2).unwrap_or((text, ""));
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        let action = match kind {
            "C:" => return self.append(line, octets(rest)?, true, true),
            "C|" => return self.append(line, octets(rest)?, false, true),
            "M:" => return self.append(line, octets(rest)?, true, false),
            "M|" => return self.append(line, octets(rest)?, false, false),
            "S:" => Action::Expect(match rest.strip_suffix('*') {
                Some(prefix) => Pattern::Prefix(prefix.to_owned()),
                None => Pattern::Exact(rest.to_owned()),
            }),
            "S+" => Action::ExpectReply(rest.to_owned()),
            "T:" => Action::Tls,
            "E:" => Action::Envelope(rest.to_owned()),
            "X:" => Action::Close(match rest {
                "quit" => Closing::Quit,
                "refused" => Closing::Refused,
                "drain" => Closing::Drain,
                _ => return Err("expected quit, refused or drain".to_owned()),
            }),
            "! " => Action::Driver(driver(rest)?),
            _ => {
                return Err(format!(
                    "expected C:, C|, S:, S+, T:, X:, E:, M:, M| or !, found {text:?}"
                ));
            }
        };
        self.steps.push(Step { line, action });
        Ok(())
    }

    /// Adds octets to the packet, or the message, of the line before.
    fn append(
        &mut self,
        line: usize,
        octets: Vec<u8>,
        crlf: bool,
        sent: bool,
    ) -> Result<(), String> {
        let ends: &[u8] = if crlf { b"\r\n" } else { b"" };
        let more = octets.iter().chain(ends).copied();
        match self.steps.last_mut().map(|step| &mut step.action) {
            Some(Action::Send(packet)) if sent => packet.extend(more),
            Some(Action::Message(message)) if !sent => message.extend(more),
            _ => {
                let octets = more.collect();
                let action = if sent {
                    Action::Send(octets)
                } else {
                    Action::Message(octets)
                };
                self.steps.push(Step { line, action });
            }
        }
        Ok(())
    }
}

fn driver(text: &str) -> Result<Driver, String> {
    match text.split_once(' ').unwrap_or((text, "")) {
        ("shutdown", "") => Ok(Driver::Shutdown),
        ("shutdown-now", "") => Ok(Driver::ShutdownNow),
        ("timed-out", "") => Ok(Driver::TimedOut),
        ("abort-data", "") => Ok(Driver::AbortData),
        ("refuse-data", reply) => Ok(Driver::RefuseData(said(reply)?)),
        _ => Err(format!("unknown action {text:?}")),
    }
}

/// `550 5.1.1 no such user`.
fn said(text: &str) -> Result<Said, String> {
    let malformed = || format!("expected a reply as `550 5.1.1 text`, found {text:?}");
    let mut parts = text.splitn(3, ' ');
    let code: u16 = parts
        .next()
        .and_then(|code| code.parse().ok())
        .ok_or_else(malformed)?;
    let mut numbers = parts.next().unwrap_or("").split('.');
    let mut number = || numbers.next().and_then(|number| number.parse::<u16>().ok());
    let (Some(class), Some(subject), Some(detail)) = (number(), number(), number()) else {
        return Err(malformed());
    };
    if class != code / 100 {
        return Err(malformed());
    }
    let text = parts.next().unwrap_or("").to_owned();
    Ok(Said {
        code,
        enhanced: (subject, detail),
        text,
    })
}

/// Text with escapes: `\r`, `\n`, `\t`, `\0`, `\\`, `\xNN`, and `\{N*text}` for N times the text.
fn octets(text: &str) -> Result<Vec<u8>, String> {
    let mut octets = Vec::new();
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        octets.extend_from_slice(plain.as_bytes());
        let kind = escape
            .chars()
            .next()
            .ok_or("a backslash stands at the end of the line")?;
        rest = escape.get(kind.len_utf8()..).unwrap_or("");
        match kind {
            'r' => octets.push(b'\r'),
            'n' => octets.push(b'\n'),
            't' => octets.push(b'\t'),
            '0' => octets.push(0),
            '\\' => octets.push(b'\\'),
            'x' => {
                let (digits, behind) = rest.split_at_checked(2).ok_or("expected \\xNN")?;
                octets.push(u8::from_str_radix(digits, 16).map_err(|_| "expected \\xNN")?);
                rest = behind;
            }
            '{' => {
                let (inner, behind) = rest.split_once('}').ok_or("expected \\{N*text}")?;
                let (times, unit) = inner.split_once('*').ok_or("expected \\{N*text}")?;
                let times: usize = times.parse().map_err(|_| "expected \\{N*text}")?;
                octets.extend(self::octets(unit)?.repeat(times));
                rest = behind;
            }
            other => return Err(format!("unknown escape \\{other}")),
        }
    }
    octets.extend_from_slice(rest.as_bytes());
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_give_octets() {
        assert_eq!(
            octets(r"a\r\n\0\\\xff\{3*\xc3}b").unwrap(),
            b"a\r\n\0\\\xff\xc3\xc3\xc3b"
        );
        assert!(octets(r"\q").is_err());
        assert!(octets(r"\x4").is_err());
        assert!(octets(r"\{a}").is_err());
    }

    #[test]
    fn lines_make_packets() {
        let text = "# Title\nsize: 9\nrcpt a@b: 550 5.1.1 no\n---\nC: A\nC| B\nS: 250 *\nC: D\n# again\nC: E\nM: x\nM| y\n";
        let dialogue = Dialogue::parse(Path::new("x.smtp"), text).unwrap();
        assert_eq!(dialogue.title, "Title");
        assert_eq!(dialogue.settings["size"], "9");
        assert_eq!(dialogue.answers.rcpt["a@b"].code, 550);
        let actions: Vec<_> = dialogue.steps.into_iter().map(|step| step.action).collect();
        assert_eq!(
            actions,
            [
                Action::Send(b"A\r\nB".to_vec()),
                Action::Expect(Pattern::Prefix("250 ".to_owned())),
                Action::Send(b"D\r\n".to_vec()),
                Action::Send(b"E\r\n".to_vec()),
                Action::Message(b"x\r\ny".to_vec()),
            ]
        );
    }

    #[test]
    fn a_bad_line_is_named() {
        let read = |text: &str| {
            Dialogue::parse(Path::new("x.smtp"), text)
                .unwrap_err()
                .to_string()
        };
        assert!(read("---\nQ: what\n").starts_with("x.smtp:2: expected C:"));
        assert!(read("rcpt a@b: 550 4.1.1 no\n---\n").starts_with("x.smtp:1: expected a reply"));
        assert!(read("noise\n---\n").starts_with("x.smtp:1: expected `name: value`"));
    }
}
