//! Precedence of claims and rules.

use super::*;
use postern_config::policy as p;
use postern_config::route::{LocalPartMatch, Route, Rule, VerifyRecipients};

fn claim(pattern: RecipientPattern, route: usize) -> Claim {
    Claim { pattern, route }
}

fn router() -> Router {
    Router::new(&[
        claim(RecipientPattern::Address("ops@acme.test".into()), 0),
        claim(RecipientPattern::Domain("acme.test".into()), 1),
        claim(RecipientPattern::Wildcard("eu.acme.test".into()), 2),
        claim(RecipientPattern::Wildcard("acme.test".into()), 3),
        claim(RecipientPattern::Any, 4),
    ])
}

fn route_of(router: &Router, address: &str) -> Option<usize> {
    router.route(&address.parse().unwrap())
}

#[test]
fn the_most_specific_claim_wins() {
    let router = router();
    assert_eq!(route_of(&router, "OPS@ACME.test"), Some(0));
    assert_eq!(route_of(&router, "bob@acme.test"), Some(1));
    assert_eq!(route_of(&router, "bob@a.eu.acme.test"), Some(2));
    assert_eq!(route_of(&router, "bob@eu.acme.test"), Some(3));
    assert_eq!(route_of(&router, "bob@x.y.acme.test"), Some(3));
    assert_eq!(route_of(&router, "bob@elsewhere.test"), Some(4));
}

#[test]
fn an_address_literal_and_a_foreign_domain_have_no_route() {
    assert_eq!(route_of(&router(), "bob@[192.0.2.1]"), None);
    let narrow = Router::new(&[claim(RecipientPattern::Domain("acme.test".into()), 0)]);
    assert_eq!(route_of(&narrow, "bob@other.test"), None);
    assert_eq!(route_of(&narrow, "bob@notacme.test"), None);
}

#[test]
fn of_two_equal_claims_the_first_stands() {
    let twice = [
        claim(RecipientPattern::Domain("a.test".into()), 7),
        claim(RecipientPattern::Domain("a.test".into()), 8),
    ];
    assert_eq!(route_of(&Router::new(&twice), "x@a.test"), Some(7));
}

fn policy() -> p::RecipientPolicy {
    crate::testing::recipient_policy()
}

fn rules(matches: &[LocalPartMatch]) -> Result<Rules, RuleError> {
    let rule = |name: &str, matches: Vec<LocalPartMatch>| Rule {
        name: name.into(),
        matches,
        verify_recipients: VerifyRecipients::None,
        backends: vec![],
        enforced: policy(),
        shadow: None,
    };
    let mut list: Vec<Rule> = matches.iter().map(|m| rule("r", vec![m.clone()])).collect();
    list.push(rule("last", vec![LocalPartMatch::Exact("last".into())]));
    Rules::new(&Route {
        namespace: "acme".into(),
        name: "mail".into(),
        listener: "mx".into(),
        rules: list,
    })
}

#[test]
fn rules_match_without_case_and_in_order() {
    let rules = rules(&[
        LocalPartMatch::Exact("Bob".into()),
        LocalPartMatch::Prefix("list-".into()),
        LocalPartMatch::Suffix("-bounces".into()),
        LocalPartMatch::RegularExpression("a|b+c".into()),
    ])
    .unwrap();
    assert_eq!(rules.first("BOB"), Some(0));
    assert_eq!(rules.first("List-x-bounces"), Some(1));
    assert_eq!(rules.first("x-bounces"), Some(2));
    assert_eq!(rules.first("BBC"), Some(3));
    assert_eq!(rules.first("abc"), None, "the whole local part must match");
    assert_eq!(rules.first("last"), Some(4));
    assert_eq!(rules.first("nobody"), None);
}

#[test]
fn a_bad_regular_expression_names_route_and_rule() {
    for bad in ["(", "a)|(?:b", "(a{1000}){1000}"] {
        let error = rules(&[LocalPartMatch::RegularExpression(bad.into())]).unwrap_err();
        assert!(
            error.to_string().starts_with("route acme/mail, rule r: "),
            "{error}"
        );
    }
}

#[test]
fn an_expression_that_ends_in_a_comment_is_one_that_the_api_takes() {
    let commented = LocalPartMatch::RegularExpression("(?x) list- \\d+  # our lists".into());
    let rules = rules(&[commented]).unwrap();
    assert_eq!(rules.first("list-12"), Some(0));
    assert_eq!(rules.first("list-12-x"), None);
}
