//! Commands on the mails of the folder that is selected.

use super::{
    State,
    answer::Answer,
    command::{Section, UidSet, is_found, words},
    dialogue::Selected,
    folders::Stored,
};

const BAD: &str = "BAD not understood";
const READ_ONLY: &str = "NO [READ-ONLY] the folder cannot be changed";

/// Answers but for the tagged line, whose text it returns.
pub(super) fn carry_out(
    state: &mut State,
    selected: &mut Selected,
    text: &str,
    answer: &mut Answer,
) -> String {
    if state.folders.get(&selected.name).is_none() {
        return "NO [NONEXISTENT] the folder is gone".to_owned();
    }
    let words = words(text);
    if words[0].eq_ignore_ascii_case("EXPUNGE") {
        return expunge(state, selected, None).to_owned();
    }
    let verb = words
        .get(1)
        .map_or(String::new(), |verb| verb.to_ascii_uppercase());
    let arguments = words.get(2..).unwrap_or_default();
    if verb == "SEARCH" {
        return search(state, selected, arguments, answer).to_owned();
    }
    let highest = highest_uid(state, selected);
    let set = arguments
        .first()
        .and_then(|set| UidSet::parse(set, highest));
    let Some(set) = set else {
        return BAD.to_owned();
    };
    let uids: Vec<u32> = selected
        .known
        .iter()
        .copied()
        .filter(|uid| set.contains(*uid))
        .collect();
    let folder = arguments.get(1).map_or("", String::as_str);
    match verb.as_str() {
        "FETCH" => fetch(state, selected, &uids, text, answer).to_owned(),
        "STORE" => store(state, selected, &uids, &arguments[1..], answer).to_owned(),
        "EXPUNGE" if state.offers("UIDPLUS") => expunge(state, selected, Some(&uids)).to_owned(),
        "COPY" => match copy(state, selected, &uids, folder) {
            Ok(code) => format!("OK {code}copied"),
            Err(refusal) => refusal.to_owned(),
        },
        "MOVE" if state.offers("MOVE") && selected.read_only => READ_ONLY.to_owned(),
        "MOVE" if state.offers("MOVE") => match copy(state, selected, &uids, folder) {
            Ok(code) => {
                if !code.is_empty() {
                    answer.line(&format!("* OK {code}moved"));
                }
                for uid in &uids {
                    state.folders.expunge(&selected.name, *uid);
                }
                "OK moved".to_owned()
            }
            Err(refusal) => refusal.to_owned(),
        },
        _ => BAD.to_owned(),
    }
}

fn highest_uid(state: &State, selected: &Selected) -> u32 {
    let folder = state.folders.get(&selected.name);
    let highest = folder.and_then(|folder| folder.mails.keys().next_back());
    highest.copied().unwrap_or_default()
}

fn search(
    state: &State,
    selected: &Selected,
    keys: &[String],
    answer: &mut Answer,
) -> &'static str {
    let highest = highest_uid(state, selected);
    let mut found = String::from("* SEARCH");
    let folder = state.folders.get(&selected.name);
    for (uid, mail) in folder.into_iter().flat_map(|folder| &folder.mails) {
        match is_found(*uid, mail, keys, highest) {
            Some(true) => found.push_str(&format!(" {uid}")),
            Some(false) => {}
            None => return BAD,
        }
    }
    answer.line(&found);
    "OK searched"
}

fn fetch(
    state: &mut State,
    selected: &Selected,
    uids: &[u32],
    text: &str,
    answer: &mut Answer,
) -> &'static str {
    let section = Section::find(text);
    let items = text.to_ascii_uppercase();
    let Some(folder) = state.folders.get_mut(&selected.name) else {
        return BAD;
    };
    for uid in uids {
        // Another client may have deleted it.
        let Some(mail) = folder.mails.get_mut(uid) else {
            continue;
        };
        if section.as_ref().is_some_and(|section| !section.peek) && !selected.read_only {
            mail.flags.insert("\\Seen".to_owned());
        }
        let place = selected.known.iter().position(|known| known == uid);
        answer.text(&format!(
            "* {} FETCH (UID {uid}",
            place.expect("it is known") + 1
        ));
        if items.contains("FLAGS") {
            answer.text(&format!(" FLAGS ({})", flags_of(mail)));
        }
        if items.contains("INTERNALDATE") {
            answer.text(" INTERNALDATE \"01-Jan-2026 00:00:00 +0000\"");
        }
        if items.contains("RFC822.SIZE") {
            answer.text(&format!(" RFC822.SIZE {}", mail.stated_size));
        }
        if let Some(section) = &section {
            give_section(section, mail, answer);
        }
        answer.line(")");
    }
    "OK fetched"
}

fn give_section(section: &Section, mail: &Stored, answer: &mut Answer) {
    let whole = if section.name.to_ascii_uppercase().starts_with("HEADER") {
        mail.header()
    } else {
        &mail.body
    };
    answer.text(&format!(" BODY[{}]", section.name));
    let part = match section.part {
        None => whole,
        Some((first, length)) => {
            answer.text(&format!("<{first}>"));
            let rest = whole.get(first..).unwrap_or_default();
            &rest[..length.min(rest.len())]
        }
    };
    answer.text(" ");
    answer.literal(part);
}

fn store(
    state: &mut State,
    selected: &Selected,
    uids: &[u32],
    arguments: &[String],
    answer: &mut Answer,
) -> &'static str {
    let [action, flags @ ..] = arguments else {
        return BAD;
    };
    if selected.read_only {
        return READ_ONLY;
    }
    let takes_keywords = state.folders.takes_keywords;
    // As servers do, keywords that cannot be kept are passed over.
    let flags: Vec<&String> = flags
        .iter()
        .filter(|flag| takes_keywords || flag.starts_with('\\'))
        .collect();
    let action = action.to_ascii_uppercase();
    let Some(folder) = state.folders.get_mut(&selected.name) else {
        return BAD;
    };
    for uid in uids {
        let Some(mail) = folder.mails.get_mut(uid) else {
            continue;
        };
        if !action.starts_with(['+', '-']) {
            mail.flags.clear();
        }
        for flag in &flags {
            if action.starts_with('-') {
                mail.flags.remove(*flag);
            } else {
                mail.flags.insert((*flag).clone());
            }
        }
        if !action.ends_with(".SILENT") {
            let place = selected.known.iter().position(|known| known == uid);
            let place = place.expect("it is known") + 1;
            let flags = flags_of(mail);
            answer.line(&format!("* {place} FETCH (UID {uid} FLAGS ({flags}))"));
        }
    }
    "OK stored"
}

fn expunge(state: &mut State, selected: &Selected, uids: Option<&[u32]>) -> &'static str {
    if selected.read_only {
        return READ_ONLY;
    }
    if let Some(folder) = state.folders.get_mut(&selected.name) {
        folder.mails.retain(|uid, mail| {
            let meant = uids.is_none_or(|uids| uids.contains(uid));
            !(meant && mail.has("\\Deleted"))
        });
    }
    "OK expunged"
}

/// Gives the response code of RFC 4315 and a space, nothing if there is none to give, or the refusal.
fn copy(
    state: &mut State,
    selected: &Selected,
    uids: &[u32],
    to: &str,
) -> Result<String, &'static str> {
    let from = state.folders.get(&selected.name);
    let mails: Vec<(u32, Stored)> = uids
        .iter()
        .filter_map(|uid| Some((*uid, from?.mails.get(uid)?.clone())))
        .collect();
    let tells_uids = state.offers("UIDPLUS");
    let Some(folder) = state.folders.get_mut(to) else {
        return Err("NO [TRYCREATE] there is no such folder");
    };
    if folder.read_only {
        return Err(READ_ONLY);
    }
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for (uid, mail) in mails {
        old.push(uid.to_string());
        new.push(folder.add(mail).to_string());
    }
    if !tells_uids || old.is_empty() {
        return Ok(String::new());
    }
    Ok(format!(
        "[COPYUID {} {} {}] ",
        folder.uid_validity,
        old.join(","),
        new.join(",")
    ))
}

fn flags_of(mail: &Stored) -> String {
    let flags: Vec<&str> = mail.flags.iter().map(String::as_str).collect();
    flags.join(" ")
}
