//! A dialogue's header as configuration: what the objects say, and what the backend says.

use crate::HOSTNAME;
use crate::player::spoken;
use postern_crds::MailPolicy;
use postern_tests::dialogue::{Dialogue, Said};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What SIZE and the transaction's limit are without a setting, octets.
const SIZE: &str = "1000000";

/// What a header asks for, in terms of a listener, its policy, its route and its backend.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Configuration {
    /// The listener's `tls.mode`.
    tls: Option<&'static str>,
    /// The sections of the listener's policy.
    sections: Value,
    /// The sections of the route's policy.
    route_sections: Option<Value>,
    /// Every recipient needs a message of its own.
    one_recipient: bool,
    /// Another connection of the client's network is open already, the only one that may be.
    pub(crate) crowded: bool,
    /// What the backend says to recipients.
    pub(crate) rcpt: BTreeMap<String, Said>,
    /// What the backend says to messages.
    pub(crate) message: Option<Said>,
}

impl Configuration {
    /// The configuration for a header, or why none does what it says.
    pub(crate) fn of(dialogue: &Dialogue) -> Result<Self, String> {
        let mut settings = dialogue.settings.clone();
        let answers = &dialogue.answers;
        if settings
            .remove("hostname")
            .is_some_and(|name| name != HOSTNAME)
        {
            return Err(format!("the hostname is {HOSTNAME} here"));
        }
        let tls = match settings.remove("starttls").as_deref() {
            None | Some("unavailable") => None,
            Some("offered") => Some("Opportunistic"),
            Some("required") => Some("Required"),
            Some(other) => return Err(format!("unknown starttls {other}")),
        };
        let one_recipient = match settings.remove("rcptmax").as_deref() {
            None => false,
            Some("1") => true,
            Some(_) => return Err("RCPTMAX is 1, or not advertised".to_owned()),
        };
        let crowded = answers.connect.as_ref().is_some_and(is_crowd);
        let mut limits = limits(&mut settings)?;
        if crowded {
            limits["connectionsPerNetwork"] = json!(1);
        }
        let transaction = settings.remove("message-size");
        let route_sections = transaction.map(|size| json!({"limits": {"messageSize": size}}));
        if let Some(name) = settings.keys().next() {
            return Err(format!("unknown setting {name}"));
        }
        let sections = json!({
            "limits": limits,
            "access": access(dialogue)?,
            // No verdict of a check comes in between.
            "verify": {
                "trustedForwarders": {"networks": ["127.0.0.0/8"]},
                "from": {"onAmbiguous": "Accept"},
            },
        });
        let configuration = Self {
            tls,
            sections,
            route_sections,
            one_recipient,
            crowded,
            rcpt: answers.rcpt.clone(),
            message: answers.message.clone(),
        };
        configuration.is_valid()?;
        Ok(configuration)
    }

    /// Whether the API would take the policies: its bounds are what some dialogues lie beyond.
    fn is_valid(&self) -> Result<(), String> {
        for policy in self.policies(0) {
            postern_crds::schema::parse::<MailPolicy>(&policy).map_err(|errors| {
                let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
                errors.join("; ")
            })?;
        }
        Ok(())
    }

    /// The policies of the listener and of the route with this number.
    fn policies(&self, number: usize) -> Vec<Value> {
        let name = listener_name(number);
        let policy = |kind: &str, target: Value, sections: &Value| {
            let spec = json!({"targetRefs": [target], "defaults": sections});
            object("MailPolicy", &format!("{name}-{kind}"), spec)
        };
        let listener = json!({"kind": "MailGateway", "name": "edge", "sectionName": name});
        let route = json!({"kind": "MailRoute", "name": name});
        let mut policies = vec![policy("listener", listener, &self.sections)];
        policies.extend(
            self.route_sections
                .iter()
                .map(|sections| policy("route", route.clone(), sections)),
        );
        policies
    }

    /// The listener with this number.
    pub(crate) fn listener(&self, number: usize, port: u16) -> Value {
        let mut listener = json!({"name": listener_name(number), "port": port, "protocol": "SMTP"});
        if let Some(mode) = self.tls {
            listener["tls"] = json!({"mode": mode, "selfSigned": {}});
        }
        listener
    }

    /// Policies, route and Service of the listener with this number.
    pub(crate) fn objects(&self, number: usize) -> Vec<Value> {
        let name = listener_name(number);
        let multiple = if self.one_recipient {
            "One"
        } else {
            "Together"
        };
        let backend = json!({
            "service": {"name": name, "port": 25},
            "multipleRecipients": multiple,
        });
        let route = json!({
            "parentRefs": [{"name": "edge", "sectionName": name}],
            "recipients": ["acme.test", "xn--r8jz45g.test"],
            "rules": [{"name": "all", "verifyRecipients": "Ask", "backends": [backend]}],
        });
        let mut objects = self.policies(number);
        objects.push(object("MailRoute", &name, route));
        objects.push(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": "mail"},
            "spec": {"ports": [{"port": 25}]},
        }));
        objects
    }
}

/// The section `limits` of the listener's policy.
fn limits(settings: &mut BTreeMap<String, String>) -> Result<Value, String> {
    let size = settings.remove("size");
    let mut limits = json!({"messageSize": size.as_deref().unwrap_or(SIZE)});
    for name in ["commands", "errors", "recipients"] {
        if let Some(value) = settings.remove(name) {
            let number: u32 = value.parse().map_err(|_| format!("no number: {value}"))?;
            limits[name] = json!(number);
        }
    }
    let data = settings.remove("bare-newlines-data");
    let bdat = settings.remove("bare-newlines-bdat");
    match (
        data.as_deref().unwrap_or("reject"),
        bdat.as_deref().unwrap_or("normalize"),
    ) {
        // What the gateway does without a setting.
        ("reject", "normalize") => {}
        ("reject", "reject") => limits["bareNewlines"] = json!("Reject"),
        ("normalize", "normalize") => limits["bareNewlines"] = json!("Normalize"),
        _ => return Err("no value of limits.bareNewlines does that".to_owned()),
    }
    Ok(limits)
}

/// The reply of `limits.connectionsPerNetwork`.
fn is_crowd(said: &Said) -> bool {
    (said.code, said.enhanced) == (421, (7, 0))
}

/// The lists that refuse what the header refuses.
fn access(dialogue: &Dialogue) -> Result<Value, String> {
    let answers = &dialogue.answers;
    let mut access = json!({});
    match &answers.connect {
        Some(said) if (said.code, said.enhanced) == (554, (7, 1)) => {
            access["clients"] = json!({"deny": ["127.0.0.0/8"]});
        }
        Some(said) if !is_crowd(said) => return Err(format!("no policy greets {}", said.code)),
        Some(_) | None => {}
    }
    for (section, refused) in [("helo", &answers.helo), ("senders", &answers.mail)] {
        if refused.contains_key("<>") {
            return Err("no policy refuses the null path".to_owned());
        }
        if let Some(said) = refused
            .values()
            .find(|said| (said.code, said.enhanced) != (550, (7, 1)))
        {
            return Err(format!("access.{section} does not say {}", spoken(said)));
        }
        if !refused.is_empty() {
            access[section] = json!({"deny": refused.keys().collect::<Vec<_>>()});
        }
    }
    match &answers.data {
        Some(said) => Err(format!("no policy answers DATA with {}", said.code)),
        None => Ok(access),
    }
}

/// The name of listener, route and Service.
pub(crate) fn listener_name(number: usize) -> String {
    format!("mx-{number}")
}

/// An object of ours.
pub(crate) fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "postern.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": "mail"},
        "spec": spec,
    })
}
