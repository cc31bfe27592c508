//! The dashboards as they are in `grafana/dashboards`, and that they are put together well.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

/// One dashboard: what tests need of it.
pub(super) struct Dashboard {
    pub(super) uid: String,
    pub(super) panels: Vec<Panel>,
    /// The statement behind the variable `domain`; empty where there is none.
    pub(super) domain_query: String,
}

pub(super) struct Panel {
    pub(super) title: String,
    pub(super) sql: String,
}

impl Dashboard {
    pub(super) fn panel(&self, title: &str) -> &Panel {
        let found = self.panels.iter().find(|panel| panel.title == title);
        found.unwrap_or_else(|| panic!("{} has no panel {title}", self.uid))
    }

    /// Every statement in it.
    pub(super) fn statements(&self) -> impl Iterator<Item = &str> {
        let panels = self.panels.iter().map(|panel| panel.sql.as_str());
        let variable = Some(self.domain_query.as_str()).filter(|query| !query.is_empty());
        panels.chain(variable)
    }

    fn read(json: &Value) -> Self {
        let variables = list(json, "/templating/list");
        let domain = variables
            .iter()
            .find(|variable| variable["name"] == "domain");
        Self {
            uid: text(json, "/uid").into(),
            panels: list(json, "/panels").iter().map(Panel::read).collect(),
            domain_query: domain
                .map_or("", |variable| text(variable, "/query"))
                .into(),
        }
    }
}

impl Panel {
    fn read(panel: &Value) -> Self {
        Self {
            title: text(panel, "/title").into(),
            sql: text(panel, "/targets/0/rawSql").into(),
        }
    }
}

pub(super) fn dashboards() -> Vec<Dashboard> {
    files().iter().map(Dashboard::read).collect()
}

fn files() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../grafana/dashboards");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let files: Vec<Value> = files
        .map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
        .collect();
    assert_eq!(files.len(), 4);
    files
}

fn text<'a>(json: &'a Value, pointer: &str) -> &'a str {
    let value = json.pointer(pointer).and_then(Value::as_str);
    value.unwrap_or_else(|| panic!("no text at {pointer} in {json}"))
}

fn list<'a>(json: &'a Value, pointer: &str) -> &'a [Value] {
    let value = json.pointer(pointer).and_then(Value::as_array);
    value.unwrap_or_else(|| panic!("no list at {pointer} in {json}"))
}

/// Where a panel stands: `x`, `y`, `w` and `h` on a grid 24 wide.
fn cells(panel: &Value) -> BTreeSet<(u64, u64)> {
    let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
    assert!(w > 0 && h > 0 && x + w <= 24, "{panel}");
    (x..x + w)
        .flat_map(|x| (y..y + h).map(move |y| (x, y)))
        .collect()
}

#[test]
fn grafana_dashboards_have_ids_of_their_own_and_know_each_other() {
    let files = files();
    let uids: BTreeSet<&str> = files.iter().map(|file| text(file, "/uid")).collect();
    assert_eq!(uids.len(), files.len());
    let titles: BTreeSet<&str> = files.iter().map(|file| text(file, "/title")).collect();
    assert_eq!(titles.len(), files.len());
    for file in &files {
        assert_eq!(file["timezone"], "utc", "days are UTC");
        assert!(file["schemaVersion"].as_u64().unwrap() >= 39);
        assert_eq!(file.get("id"), None, "an id belongs to one installation");
        assert_eq!(file["links"][0]["tags"][0], "ruad");
        assert!(list(file, "/tags").contains(&"ruad".into()));
        let whole = file.to_string();
        for link in whole.split("\"url\":\"/d/").skip(1) {
            let uid = link.split('?').next().unwrap();
            assert!(uids.contains(uid), "a link to {uid}, which there is not");
        }
    }
}

#[test]
fn grafana_panels_are_described_and_do_not_overlap() {
    for file in files() {
        let (mut ids, mut titles, mut taken) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for panel in list(&file, "/panels") {
            let place = format!("{}: {}", file["uid"], panel["title"]);
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{place}");
            assert!(titles.insert(text(panel, "/title").to_owned()), "{place}");
            assert!(text(panel, "/description").ends_with('.'), "{place}");
            assert!(
                !text(panel, "/fieldConfig/defaults/unit").is_empty(),
                "{place}"
            );
            assert!(
                ["stat", "timeseries", "table"].contains(&text(panel, "/type")),
                "{place}"
            );
            for cell in cells(panel) {
                assert!(taken.insert(cell), "{place} overlaps");
            }
            let [target] = list(panel, "/targets") else {
                panic!("{place}: a panel has one statement");
            };
            assert_eq!(target["rawQuery"], true, "{place}");
            for source in [&panel["datasource"], &target["datasource"]] {
                assert_eq!(source["uid"], "${datasource}", "{place}");
                assert_eq!(source["type"], "grafana-postgresql-datasource", "{place}");
            }
        }
    }
}

#[test]
fn grafana_colours_and_units_belong_to_columns_that_there_are() {
    for file in files() {
        for panel in list(&file, "/panels") {
            let sql = text(panel, "/targets/0/rawSql");
            for matcher in list(panel, "/fieldConfig/overrides") {
                let column = format!("as \"{}\"", text(matcher, "/matcher/options"));
                assert!(sql.contains(&column), "{}: {column}", panel["title"]);
            }
        }
    }
}
