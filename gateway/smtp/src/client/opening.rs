//! From the connection to the first MAIL: greeting, EHLO or LHLO, STARTTLS, AUTH PLAIN.

use super::command;
use super::conversation::{Broken, Conversation, Protocol, Reuse, Stage};
use super::extensions::Extensions;
use super::reply::{Nonsense, Reply};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The longest initial response: the command line's 512 octets (RFC 4954 §4) less the command.
const MAX_INITIAL_RESPONSE: usize = 498;

/// What is wanted of the connection.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Our name for EHLO or LHLO.
    pub hello: String,
    /// Whether TLS is started.
    pub starttls: StartTls,
    /// The login, when there is one. It is only ever said over TLS.
    pub login: Option<Login>,
}

/// When STARTTLS is said (RFC 3207).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartTls {
    /// Not at all: in clear.
    Never,
    /// If the backend offers it.
    IfOffered,
    /// It must be offered.
    Required,
    /// TLS began with the first octet (RFC 8314).
    Implicit,
}

/// A user name and password. No `Debug`: they are secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The authentication identity.
    pub username: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(..)")
    }
}

/// What the driver does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Write what is there to write, then read.
    Wait,
    /// Start the TLS handshake as the client, then call [`Opening::tls_established`].
    StartTls,
    /// Take the conversation with [`Opening::into_conversation`].
    Ready,
}

/// Why there will be no transaction on this connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpeningError {
    /// The backend refused.
    #[error("the backend refuses {stage}: {}", .reply.codes())]
    Refused {
        /// What it refused.
        stage: Stage,
        /// How.
        reply: Reply,
    },
    /// It made no sense, or closes.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// TLS is required and not offered.
    #[error("the backend does not offer STARTTLS")]
    NoStartTls,
    /// A login is configured and PLAIN is not offered.
    #[error("the backend does not offer AUTH PLAIN")]
    NoAuthPlain,
    /// A login is configured and the connection is in clear.
    #[error("a password is not sent without TLS")]
    LoginInClear,
}

/// The opening of one connection; see the module.
#[derive(Debug)]
pub struct Opening {
    conversation: Conversation,
    plan: Plan,
    secured: bool,
    said_helo: bool,
    responded: bool,
    ready: bool,
}

impl Opening {
    /// For a connection that was made just now, over TLS already with [`StartTls::Implicit`].
    #[must_use]
    pub fn new(protocol: Protocol, plan: Plan) -> Self {
        let secured = plan.starttls == StartTls::Implicit;
        let conversation = Conversation::new(protocol);
        Self {
            conversation,
            plan,
            secured,
            said_helo: false,
            responded: false,
            ready: false,
        }
    }

    /// The conversation, to write its output and hand it what was read.
    pub fn conversation(&mut self) -> &mut Conversation {
        &mut self.conversation
    }

    /// Takes the replies that are there. Call it whenever octets came.
    ///
    /// # Errors
    /// [`OpeningError`]: the connection is of no use.
    pub fn step(&mut self) -> Result<Step, OpeningError> {
        while let Some((stage, reply)) = self.conversation.answer()? {
            let step = self.take(stage, reply)?;
            if step != Step::Wait {
                return Ok(step);
            }
        }
        Ok(if self.ready { Step::Ready } else { Step::Wait })
    }

    /// The handshake is done: the backend is greeted anew, and what it said before is forgotten
    /// (RFC 3207 §4.2).
    pub fn tls_established(&mut self) {
        self.secured = true;
        self.conversation.extensions = Extensions::default();
        self.hello();
    }

    /// The conversation once it is ready for MAIL.
    #[must_use]
    pub fn into_conversation(mut self) -> Conversation {
        self.conversation.reuse = if self.ready {
            Reuse::Ready
        } else {
            Reuse::Never
        };
        self.conversation
    }

    fn take(&mut self, stage: Stage, reply: Reply) -> Result<Step, OpeningError> {
        match stage {
            Stage::Greeting if reply.is_positive() => Ok(self.hello()),
            Stage::Hello if reply.is_positive() => {
                // RFC 5321 §4.1.1.1: what looks like extensions behind HELO is none.
                if !self.said_helo {
                    self.conversation.extensions = Extensions::parse(&reply);
                }
                self.greeted()
            }
            // RFC 5321 §3.2: a server that does not know EHLO is greeted with HELO.
            Stage::Hello if self.may_fall_back(&reply) => Ok(self.helo()),
            Stage::StartTls if reply.is_positive() => self.start_tls(),
            // RFC 7435 §3: opportunistic; nothing was lost by asking.
            Stage::StartTls if self.plan.starttls == StartTls::IfOffered => self.login(),
            Stage::Login if reply.is_positive() => Ok(self.done()),
            Stage::Login if reply.code == 334 => self.respond(),
            _ => Err(OpeningError::Refused { stage, reply }),
        }
    }

    fn hello(&mut self) -> Step {
        let line = command::hello(self.conversation.protocol, &self.plan.hello);
        self.conversation.send(Stage::Hello, &line);
        Step::Wait
    }

    fn may_fall_back(&self, reply: &Reply) -> bool {
        self.conversation.protocol == Protocol::Smtp
            && !self.said_helo
            && matches!(reply.code, 500 | 501 | 502 | 504)
    }

    fn helo(&mut self) -> Step {
        self.said_helo = true;
        let line = format!("HELO {}\r\n", self.plan.hello);
        self.conversation.send(Stage::Hello, line.as_bytes());
        Step::Wait
    }

    /// After EHLO, LHLO or HELO.
    fn greeted(&mut self) -> Result<Step, OpeningError> {
        let offered = self.conversation.extensions.starttls;
        match self.plan.starttls {
            _ if self.secured => self.login(),
            StartTls::Never | StartTls::Implicit => self.login(),
            StartTls::IfOffered if !offered => self.login(),
            StartTls::Required if !offered => Err(OpeningError::NoStartTls),
            StartTls::IfOffered | StartTls::Required => {
                self.conversation
                    .send(Stage::StartTls, command::plain(Stage::StartTls));
                Ok(Step::Wait)
            }
        }
    }

    fn start_tls(&mut self) -> Result<Step, OpeningError> {
        if self.conversation.is_quiet() {
            return Ok(Step::StartTls);
        }
        Err(Broken::from(Nonsense::Injected).into())
    }

    fn login(&mut self) -> Result<Step, OpeningError> {
        let Some(login) = &self.plan.login else {
            return Ok(self.done());
        };
        if !self.secured {
            return Err(OpeningError::LoginInClear);
        }
        if !self.conversation.extensions.auth_plain {
            return Err(OpeningError::NoAuthPlain);
        }
        let response = login.response();
        let line = if response.len() <= MAX_INITIAL_RESPONSE {
            format!("AUTH PLAIN {response}\r\n")
        } else {
            "AUTH PLAIN\r\n".to_owned()
        };
        self.conversation.send(Stage::Login, line.as_bytes());
        Ok(Step::Wait)
    }

    /// 334 to AUTH PLAIN: the response did not fit, or the backend passed over it (RFC 4954 §4).
    fn respond(&mut self) -> Result<Step, OpeningError> {
        let response = match &self.plan.login {
            Some(login) if !self.responded => login.response(),
            _ => {
                return Err(Broken::from(Nonsense::Unexpected {
                    stage: Stage::Login,
                    code: 334,
                })
                .into());
            }
        };
        self.responded = true;
        self.conversation
            .send(Stage::Login, format!("{response}\r\n").as_bytes());
        Ok(Step::Wait)
    }

    fn done(&mut self) -> Step {
        self.ready = true;
        Step::Ready
    }
}

impl Login {
    /// `[authzid] NUL authcid NUL passwd` without an authzid, in base64 (RFC 4616 §2).
    fn response(&self) -> String {
        STANDARD.encode(format!("\0{}\0{}", self.username, self.password))
    }
}
