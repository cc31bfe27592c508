//! What the receiving mail server says of a mail: Authentication-Results (RFC 8601).

use mail_auth::AuthenticatedMessage;

use super::{
    domain,
    results_field::{Field, MethodResult},
};

/// As many verified domains are taken over.
const DOMAINS_MAX: usize = 10;

/// What a trusted server found out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Results {
    /// Its answer on DMARC; `None` if it did not check, or came to no answer.
    pub(super) dmarc_pass: Option<bool>,
    /// Domains whose DKIM signature it verified.
    pub(super) dkim_domains: Vec<String>,
}

/// The results of the server with this authserv-id.
///
/// It puts its fields on top of what it gets, and should remove those that claim to be its own (RFC 8601 section 5).
/// Should it not, forged ones stand further down. So of each method only the topmost field with a result is believed,
/// and none below a Received field that follows the first of them: what is there is older than this server's fields.
pub(super) fn results(
    message: &AuthenticatedMessage,
    authserv_id: &str,
    from_domain: &str,
) -> Results {
    let mut dmarc = None;
    let mut dkim = None;
    for (name, value) in &message.headers {
        let name = name.trim_ascii();
        if name.eq_ignore_ascii_case(b"received") && (dmarc.is_some() || dkim.is_some()) {
            break;
        }
        if !name.eq_ignore_ascii_case(b"authentication-results") {
            continue;
        }
        let Some(field) = Field::parse(value) else {
            continue;
        };
        if !field.authserv_id.eq_ignore_ascii_case(authserv_id) {
            continue;
        }
        if dmarc.is_none() && field.of_method("dmarc").next().is_some() {
            dmarc = Some(dmarc_pass(&field, from_domain));
        }
        if dkim.is_none() && field.of_method("dkim").next().is_some() {
            dkim = Some(dkim_domains(&field));
        }
    }
    Results {
        dmarc_pass: dmarc.flatten(),
        dkim_domains: dkim.unwrap_or_default(),
    }
}

/// Whether the mail passes; with several results, text of the sender may have been mistaken for one, and all must pass.
fn dmarc_pass(field: &Field, from_domain: &str) -> Option<bool> {
    let mut results = field.of_method("dmarc");
    if results.all(|result| result.result == "pass" && is_of(result, from_domain)) {
        return Some(true);
    }
    let mut results = field.of_method("dmarc");
    results
        .any(|result| matches!(result.result.as_str(), "fail" | "pass"))
        .then_some(false)
}

/// Whether a result on DMARC is about this From field: another server may have written it anew.
fn is_of(result: &MethodResult, from_domain: &str) -> bool {
    result.property("header.from").is_none_or(|from| {
        let from = domain::of_address(from).or_else(|| domain::plain(from));
        from.is_some_and(|from| domain::are_aligned(&from, from_domain))
    })
}

fn dkim_domains(field: &Field) -> Vec<String> {
    let mut domains = Vec::new();
    for result in field.of_method("dkim") {
        let domain = || match result.property("header.d") {
            Some(domain) => domain::plain(domain),
            // Gmail tells the identity alone, whose domain is the signer's or one below it.
            None => domain::of_address(result.property("header.i")?),
        };
        if result.result == "pass"
            && domains.len() < DOMAINS_MAX
            && let Some(domain) = domain()
            && !domains.contains(&domain)
        {
            domains.push(domain);
        }
    }
    domains
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, dmarc_pass: Option<bool>, dkim_domains: &[&str]) {
        let header = format!("{header}\nFrom: a@mail.example.net\n\n");
        let message = AuthenticatedMessage::parse(header.as_bytes()).unwrap();
        let expected = Results {
            dmarc_pass,
            dkim_domains: dkim_domains.iter().map(ToString::to_string).collect(),
        };
        let results = results(&message, "MX.example.com", "mail.example.net");
        assert_eq!(results, expected, "{header}");
    }

    #[test]
    fn one_field_tells_all() {
        check(
            "Authentication-Results: mx.example.com; dkim=pass header.d=Example.NET; dkim=fail header.d=example.org;
             dkim=pass header.i=@mail.example.net; dmarc=pass header.from=mail.example.net",
            Some(true),
            &["example.net", "mail.example.net"],
        );
        check(
            "Authentication-Results: mx.example.com; dmarc=fail",
            Some(false),
            &[],
        );
    }

    #[test]
    fn only_the_configured_server_is_believed() {
        check(
            "Authentication-Results: mx.example.org; dmarc=pass",
            None,
            &[],
        );
        check(
            "Authentication-Results: mx.example.com.org; dmarc=pass",
            None,
            &[],
        );
        check("Authentication-Results: dmarc=pass", None, &[]);
        check(
            "X-Authentication-Results: mx.example.com; dmarc=pass",
            None,
            &[],
        );
        check("Subject: none", None, &[]);
    }

    #[test]
    fn each_method_may_have_a_field_of_its_own() {
        check(
            "Authentication-Results: mx.example.com; dmarc=pass\nAuthentication-Results: mx.example.com; dkim=pass \
             header.d=example.net\nReceived: from a by mx.example.com",
            Some(true),
            &["example.net"],
        );
    }

    #[test]
    fn of_a_method_the_topmost_field_is_believed() {
        check(
            "Authentication-Results: mx.example.com; dmarc=fail; dkim=none
Authentication-Results: mx.example.com; dmarc=pass; dkim=pass header.d=example.net",
            Some(false),
            &[],
        );
    }

    #[test]
    fn fields_from_before_the_server_are_not_believed() {
        check(
            "Received: from here by here
Authentication-Results: mx.example.com; spf=pass
Received: from there by mx.example.com
Authentication-Results: mx.example.com; dkim=none
Received: from a by there
Authentication-Results: mx.example.com; dmarc=pass",
            None,
            &[],
        );
    }

    #[test]
    fn a_pass_for_another_from_field_is_none() {
        check(
            "Authentication-Results: mx.example.com; dmarc=pass header.from=example.org",
            Some(false),
            &[],
        );
        check(
            "Authentication-Results: mx.example.com; dmarc=pass header.from=example.net",
            Some(true),
            &[],
        );
    }

    #[test]
    fn a_pass_beside_a_fail_is_none() {
        check(
            "Authentication-Results: mx.example.com; dmarc=pass; dmarc=fail",
            Some(false),
            &[],
        );
    }

    #[test]
    fn a_result_that_is_no_answer_is_none() {
        for result in ["none", "temperror", "permerror", "bestguesspass"] {
            check(
                &format!("Authentication-Results: mx.example.com; dmarc={result}"),
                None,
                &[],
            );
        }
    }

    #[test]
    fn domains_that_are_none_are_left_out() {
        check(
            "Authentication-Results: mx.example.com; dkim=pass; dkim=pass header.d=\"a b\"; dkim=pass header.i=a",
            None,
            &[],
        );
    }
}
