//! What stands in the server's configuration.

use super::{Dovecot, Options, installation::Version};

/// What Dovecot offers by itself, as far as it matters to those who take mail. Only listed where something is left
/// out, for Dovecot 2.3 knows no other way.
const CAPABILITIES: [&str; 14] = [
    "IMAP4rev1",
    "SASL-IR",
    "LITERAL+",
    "ID",
    "ENABLE",
    "IDLE",
    "NAMESPACE",
    "UIDPLUS",
    "CHILDREN",
    "CONDSTORE",
    "ESEARCH",
    "MOVE",
    "SPECIAL-USE",
    "UNSELECT",
];

/// The same words in both versions. The limits are those that many connections from one address would run into.
const COMMON: &str = "
base_dir = FOLDER/run
state_dir = FOLDER/state
log_path = FOLDER/log
listen = 127.0.0.1
default_login_user = USER
default_internal_user = USER
default_internal_group = GROUP
first_valid_uid = 1
first_valid_gid = 1
ssl = yes
auth_mechanisms = plain login
auth_failure_delay = 0
auth_verbose = yes
mail_max_userip_connections = 0
mail_fsync = FSYNC
namespace inbox {
  inbox = yes
  separator = /
}
service imap-login {
  chroot =
  inet_listener imap {
    port = PLAIN_PORT
  }
  inet_listener imaps {
    port = TLS_PORT
  }
}
service anvil {
  chroot =
  # Without this listener, nobody is made to wait after wrong passwords.
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
";

const V2_3: &str = "
protocols = imap
ssl_cert = <CERTIFICATE
ssl_key = <KEY
disable_plaintext_auth = no
mail_home = FOLDER/mail/%u
mail_location = maildir:~/Maildir
mail_plugins = acl quota
plugin {
  acl = vfile::cache_secs=0
}
passdb {
  driver = passwd-file
  args = FOLDER/users/%u
}
userdb {
  driver = static
  args = home=FOLDER/mail/%u allow_all_users=yes
}
";

const V2_3_OAUTH2: &str = "
auth_mechanisms = plain login xoauth2 oauthbearer
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = FOLDER/oauth2.conf
}
";

const V2_4: &str = "
protocols = imap
ssl_server_cert_file = CERTIFICATE
ssl_server_key_file = KEY
auth_allow_cleartext = yes
mail_home = FOLDER/mail/%{user}
mail_driver = maildir
mail_path = ~/Maildir
mail_plugins = acl quota
acl_driver = vfile
acl_cache_ttl = 0
passdb passwd-file {
  passwd_file_path = FOLDER/users/%{user}
}
userdb static {
  static_allow_all_users = yes
  fields {
    home = FOLDER/mail/%{user}
  }
}
";

const V2_4_OAUTH2: &str = "
auth_mechanisms = plain login xoauth2 oauthbearer
oauth2 {
  introspection_mode = post
  introspection_url = INTROSPECTION
  username_attribute = email
  active_attribute = active
  active_value = true
}
passdb oauth2 {
  mechanisms_filter = xoauth2 oauthbearer
}
";

pub(super) fn of(dovecot: &Dovecot, options: &Options) -> String {
    let mut config = match dovecot.installation.version {
        Version::V2_3 => format!("{COMMON}{V2_3}{}", parts_2_3(options)),
        Version::V2_4 => {
            let version = "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n";
            format!("{version}{COMMON}{V2_4}{}", parts_2_4(options))
        }
    };
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let certificates = &dovecot.certificates;
    for (name, value) in [
        ("FOLDER", path(&dovecot.folder)),
        ("CERTIFICATE", path(&certificates.certificate_file)),
        ("KEY", path(&certificates.key_file)),
        ("USER", dovecot.installation.user.clone()),
        ("GROUP", dovecot.installation.group.clone()),
        ("PLAIN_PORT", dovecot.imap_port.to_string()),
        ("TLS_PORT", dovecot.imaps_port.to_string()),
        ("FSYNC", options.fsync.to_owned()),
        ("INTROSPECTION", options.introspection_url.clone()),
    ] {
        config = config.replace(name, &value);
    }
    config
}

/// The oauth2 passdb of Dovecot 2.3 has a file of its own.
pub(super) fn oauth2_of(introspection_url: &str) -> String {
    format!(
        "introspection_mode = post\nintrospection_url = {introspection_url}\n\
         username_attribute = email\nactive_attribute = active\nactive_value = true\n"
    )
}

/// `AUTH=XOAUTH2` is no capability that could be left out of a list: the mechanism itself is.
fn offered_oauth2(part: &str, options: &Options) -> String {
    if options.without.contains(&"AUTH=XOAUTH2") {
        return part.replace("xoauth2 ", "");
    }
    part.to_owned()
}

fn parts_2_3(options: &Options) -> String {
    let mut parts = String::new();
    if !options.introspection_url.is_empty() {
        parts.push_str(&offered_oauth2(V2_3_OAUTH2, options));
    }
    if !options.without.is_empty() {
        let offered: Vec<&str> = CAPABILITIES
            .into_iter()
            .filter(|capability| !options.without.contains(capability))
            .collect();
        parts.push_str(&format!("imap_capability = {}\n", offered.join(" ")));
    }
    if let Some(max) = options.mails_max {
        parts.push_str(&format!(
            "plugin {{\n  quota = count:User\n  quota_vsizes = yes\n  quota_rule = *:messages={max}\n}}\n"
        ));
    }
    parts
}

fn parts_2_4(options: &Options) -> String {
    let mut parts = String::new();
    if !options.introspection_url.is_empty() {
        parts.push_str(&offered_oauth2(V2_4_OAUTH2, options));
    }
    for capability in options
        .without
        .iter()
        .filter(|one| !one.starts_with("AUTH="))
    {
        parts.push_str(&format!("imap_capability/{capability} = no\n"));
    }
    if let Some(max) = options.mails_max {
        parts.push_str(&format!(
            "quota User {{\n  driver = count\n  message_count = {max}\n}}\n"
        ));
    }
    parts
}
