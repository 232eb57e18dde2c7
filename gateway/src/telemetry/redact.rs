//! How much of a mail address telemetry may say (`spec.telemetry.accessLog.recipients`).

use postern_config::telemetry::Recipients;

/// The address as far as the setting allows; `None` when nothing may be said. The null
/// reverse-path `<>` and `postmaster` say nothing of a person and are kept.
#[must_use]
pub fn address(address: &str, setting: Recipients) -> Option<&str> {
    match setting {
        Recipients::None => None,
        Recipients::Full => Some(address),
        Recipients::Domain => Some(
            address
                .rsplit_once('@')
                .map_or(address, |(_, domain)| domain),
        ),
    }
}

/// All of them, equal ones once.
#[must_use]
pub fn addresses<'a>(list: impl IntoIterator<Item = &'a str>, setting: Recipients) -> Vec<&'a str> {
    let mut said: Vec<&str> = Vec::new();
    for shown in list.into_iter().filter_map(|one| address(one, setting)) {
        if !said.contains(&shown) {
            said.push(shown);
        }
    }
    said
}
