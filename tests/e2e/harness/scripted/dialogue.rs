//! Commands that are one question and one answer.

use super::{State, answer::Answer, folders::Folders, mails};

/// The folder that a connection works in.
pub(super) struct Selected {
    pub(super) name: String,
    pub(super) read_only: bool,
    /// The UIDs that the client knows of; its sequence numbers are places in here.
    pub(super) known: Vec<u32>,
}

/// Does what a command says.
pub(super) fn answer(
    state: &mut State,
    selected: &mut Option<Selected>,
    tag: &str,
    text: &str,
    words: &[String],
) -> Answer {
    let mut answer = Answer::default();
    let verb = words
        .first()
        .map_or(String::new(), |verb| verb.to_ascii_uppercase());
    let arguments = words.get(1..).unwrap_or_default();
    let end = match verb.as_str() {
        "GREETING" => "OK scripted IMAP server ready".to_owned(),
        "CAPABILITY" => {
            answer.line(&format!("* CAPABILITY {}", state.capabilities.join(" ")));
            "OK done".to_owned()
        }
        "LOGIN" | "AUTHENTICATE" => "OK welcome".to_owned(),
        "SELECT" | "EXAMINE" => {
            *selected = None;
            select(&state.folders, selected, &verb, arguments, &mut answer)
        }
        "CREATE" => create(&mut state.folders, arguments),
        "LIST" => list(&state.folders, arguments, &mut answer),
        "STATUS" => status(&state.folders, arguments, &mut answer),
        "NOOP" | "CHECK" => "OK done".to_owned(),
        "CLOSE" | "UNSELECT" => {
            *selected = None;
            "OK done".to_owned()
        }
        "LOGOUT" => {
            answer.line("* BYE as you wish");
            "OK done".to_owned()
        }
        "UID" | "EXPUNGE" => match selected {
            Some(selected) => mails::carry_out(state, selected, text, &mut answer),
            None => "BAD no folder is selected".to_owned(),
        },
        _ => "BAD unknown command".to_owned(),
    };
    tell_news(state, selected, &mut answer);
    answer.end(tag, &end);
    answer
}

/// What has happened in the folder since the client last heard.
pub(super) fn tell_news(state: &State, selected: &mut Option<Selected>, answer: &mut Answer) {
    let Some(selected) = selected else {
        return;
    };
    let Some(folder) = state.folders.get(&selected.name) else {
        return;
    };
    // From the end, so that the places of those before stay as they are.
    for place in (0..selected.known.len()).rev() {
        if !folder.mails.contains_key(&selected.known[place]) {
            selected.known.remove(place);
            answer.line(&format!("* {} EXPUNGE", place + 1));
        }
    }
    let count = folder.mails.len();
    if count > selected.known.len() {
        selected.known = folder.mails.keys().copied().collect();
        answer.line(&format!("* {count} EXISTS"));
    }
}

fn select(
    folders: &Folders,
    selected: &mut Option<Selected>,
    verb: &str,
    arguments: &[String],
    answer: &mut Answer,
) -> String {
    let name = arguments.first().map_or("", String::as_str);
    let Some(folder) = folders.get(name) else {
        return "NO [NONEXISTENT] there is no such folder".to_owned();
    };
    let read_only = folder.read_only || verb == "EXAMINE";
    let permanent = match (read_only, folders.takes_keywords) {
        (true, _) => "",
        (false, true) => "\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*",
        (false, false) => "\\Answered \\Flagged \\Deleted \\Seen \\Draft",
    };
    answer.line("* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)");
    answer.line(&format!("* OK [PERMANENTFLAGS ({permanent})] allowed"));
    answer.line(&format!("* {} EXISTS", folder.mails.len()));
    answer.line("* 0 RECENT");
    answer.line(&format!("* OK [UIDVALIDITY {}] valid", folder.uid_validity));
    answer.line(&format!("* OK [UIDNEXT {}] next", folder.next_uid));
    *selected = Some(Selected {
        name: name.to_owned(),
        read_only,
        known: folder.mails.keys().copied().collect(),
    });
    let mode = if read_only { "READ-ONLY" } else { "READ-WRITE" };
    format!("OK [{mode}] selected")
}

fn create(folders: &mut Folders, arguments: &[String]) -> String {
    match arguments.first() {
        None => "BAD which folder".to_owned(),
        Some(name) if folders.get(name).is_some() => {
            "NO [ALREADYEXISTS] there is one already".to_owned()
        }
        Some(name) => {
            folders.create(name);
            "OK created".to_owned()
        }
    }
}

fn list(folders: &Folders, arguments: &[String], answer: &mut Answer) -> String {
    let pattern = arguments.get(1).map_or("", String::as_str);
    for name in folders.names() {
        // Folders here have no levels, so both wildcards mean the same.
        let matches = match pattern.find(['*', '%']) {
            Some(end) => name.starts_with(&pattern[..end]),
            None => name == pattern,
        };
        if matches {
            answer.line(&format!("* LIST () \"/\" \"{name}\""));
        }
    }
    "OK listed".to_owned()
}

fn status(folders: &Folders, arguments: &[String], answer: &mut Answer) -> String {
    let name = arguments.first().map_or("", String::as_str);
    let Some(folder) = folders.get(name) else {
        return "NO [NONEXISTENT] there is no such folder".to_owned();
    };
    let unseen = folder.mails.values().filter(|mail| !mail.has("\\Seen"));
    answer.line(&format!(
        "* STATUS \"{name}\" (MESSAGES {} UIDNEXT {} UIDVALIDITY {} UNSEEN {})",
        folder.mails.len(),
        folder.next_uid,
        folder.uid_validity,
        unseen.count()
    ));
    "OK done".to_owned()
}
