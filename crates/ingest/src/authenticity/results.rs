//! What the receiving mail server says of a mail: Authentication-Results (RFC 8601).

use mail_auth::AuthenticatedMessage;

use super::{
    domain, received,
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
/// It should remove fields that claim to be its own (RFC 8601 section 5). Should it not, forged ones stand below those it
/// adds, which are in one of two places: above its Received field for the mail (policy daemons, and servers that check
/// mail themselves), or directly below, before the next (milters). On top of that field there are at most those of
/// handing the mail over within its host. So this is believed, from the top down:
///
/// - nothing below the second Received field but for [handovers](received::is_handover) at the top,
/// - nothing below a Received field that follows any field of this server, whatever that one says,
/// - nothing below a field of this server that cannot be read: a word of the sender's must not put it out of force,
/// - of each method only the topmost field with a result.
pub(super) fn results(
    message: &AuthenticatedMessage,
    authserv_id: &str,
    from_domain: &str,
) -> Results {
    let mut dmarc = None;
    let mut dkim = None;
    let mut has_results = false;
    let mut has_arrived = false;
    for (name, value) in &message.headers {
        let name = name.trim_ascii();
        if name.eq_ignore_ascii_case(b"received") {
            if has_results || has_arrived {
                break;
            }
            has_arrived = !received::is_handover(value);
        }
        if !name.eq_ignore_ascii_case(b"authentication-results") {
            continue;
        }
        let is_own = Field::author(value).is_some_and(|id| id.eq_ignore_ascii_case(authserv_id));
        if !is_own {
            continue;
        }
        has_results = true;
        let Some(field) = Field::parse(value) else {
            break;
        };
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
    fn fields_stand_above_or_directly_below_the_received_field_of_the_server() {
        let own = "Authentication-Results: mx.example.com; dmarc=pass";
        let arrived =
            "Received: from a (a [192.0.2.1]) by mx.example.com (Postfix) with ESMTPS id 1; Mon";
        let lmtp = "Received: from mx.example.com by mx.example.com with LMTP id 2; Mon";
        let gmail = "Received: by 2002:a05:6a10:1:b0:1 with SMTP id a1csp1; Mon";
        let older = "Received: from b by a with ESMTP id 3; Mon";
        for header in [
            [own, arrived, older].join("\n"),
            [arrived, own, older].join("\n"),
            [lmtp, own, arrived, older].join("\n"),
            [lmtp, arrived, own, older].join("\n"),
            [gmail, arrived, "Received-SPF: pass", own, older].join("\n"),
        ] {
            check(&header, Some(true), &[]);
        }
    }

    #[test]
    fn forged_fields_are_not_believed() {
        let forged =
            "Authentication-Results: mx.example.com; dmarc=pass; dkim=pass header.d=example.net";
        let arrived =
            "Received: from a (a [192.0.2.1]) by mx.example.com (Postfix) with ESMTPS id 1; Mon";
        let lmtp = "Received: from mx.example.com by mx.example.com with LMTP id 2; Mon";
        let spf = "Authentication-Results: mx.example.com; spf=pass";
        let none = "Authentication-Results: mx.example.com; none";
        let broken = "Authentication-Results: mx.example.com; spf=pass smtp.mailfrom=\"a";
        let other = "Authentication-Results: mx.example.org; spf=pass";
        for header in [
            // The server adds none, and the mail has been on a way before, or says so.
            [arrived, arrived, forged].join("\n"),
            [arrived, lmtp, forged].join("\n"),
            [lmtp, arrived, lmtp, forged].join("\n"),
            [other, arrived, arrived, forged].join("\n"),
            // It adds one without a result that counts.
            [spf, arrived, forged].join("\n"),
            [none, arrived, forged].join("\n"),
            [lmtp, spf, arrived, forged].join("\n"),
            [arrived, spf, lmtp, forged].join("\n"),
            [spf, lmtp, forged].join("\n"),
            // It adds one that cannot be read for what the sender wrote.
            [broken, forged].join("\n"),
            [arrived, broken, forged].join("\n"),
        ] {
            check(&header, None, &[]);
        }
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
