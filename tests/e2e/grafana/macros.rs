//! What Grafana makes of a statement before PostgreSQL sees it.
//!
//! Variables are put in first, in the browser; then the server expands macros: a `$`, a name, and arguments up to the first
//! closing bracket, separated by commas. Anything of that look that it does not know is an error, there as here.

use std::collections::BTreeMap;

/// What is chosen for a variable.
#[derive(Clone, Debug)]
pub(super) enum Variable {
    /// One value.
    Text(String),
    /// Several.
    Several(Vec<String>),
    /// Put in as it is, whatever the format: `allValue`.
    Raw(String),
}

/// What statements are expanded with.
pub(super) struct Expansion {
    from: &'static str,
    to: &'static str,
    interval_secs: u32,
    variables: BTreeMap<&'static str, Variable>,
}

impl Expansion {
    /// A time range with everything in it.
    pub(super) fn of_all_days(variables: BTreeMap<&'static str, Variable>) -> Self {
        Self {
            from: "2020-01-01T00:00:00Z",
            to: "2100-01-01T11:22:33.444Z",
            interval_secs: 86_400,
            variables,
        }
    }

    pub(super) fn expand(&self, sql: &str) -> Result<String, String> {
        self.macros(&self.variables(sql)?)
    }

    fn variables(&self, sql: &str) -> Result<String, String> {
        let mut expanded = String::new();
        let mut rest = sql;
        while let Some((before, behind)) = rest.split_once("${") {
            let (inside, after) = behind.split_once('}').ok_or("a variable without end")?;
            expanded.push_str(before);
            expanded.push_str(&self.variable(inside)?);
            rest = after;
        }
        expanded.push_str(rest);
        Ok(expanded.replace("$__interval", &format!("{}s", self.interval_secs)))
    }

    /// Only with `sqlstring`, which quotes: any other format lets a value out of its place.
    fn variable(&self, inside: &str) -> Result<String, String> {
        let name = inside
            .strip_suffix(":sqlstring")
            .ok_or_else(|| format!("${{{inside}}} is not quoted"))?;
        let quoted = |value: &String| format!("'{}'", value.replace('\'', "''"));
        match self.variables.get(name) {
            Some(Variable::Text(value)) => Ok(quoted(value)),
            Some(Variable::Several(values)) => {
                Ok(values.iter().map(quoted).collect::<Vec<_>>().join(","))
            }
            Some(Variable::Raw(value)) => Ok(value.clone()),
            None => Err(format!("there is no variable {name}")),
        }
    }

    fn macros(&self, sql: &str) -> Result<String, String> {
        let mut expanded = String::new();
        let mut rest = sql;
        while let Some((before, behind)) = rest.split_once('$') {
            expanded.push_str(before);
            let name_end = behind
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(behind.len());
            let (name, behind) = behind.split_at(name_end);
            let called = behind.strip_prefix('(').and_then(|b| b.split_once(')'));
            let (arguments, after) =
                called.ok_or_else(|| format!("${name} is no macro and no variable"))?;
            let arguments: Vec<&str> = arguments.split(',').map(str::trim).collect();
            expanded.push_str(&self.expand_macro(name, &arguments)?);
            rest = after;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    fn expand_macro(&self, name: &str, arguments: &[&str]) -> Result<String, String> {
        let Self { from, to, .. } = self;
        match (name, arguments) {
            ("__timeFilter", [column]) => Ok(format!("{column} BETWEEN '{from}' AND '{to}'")),
            ("__timeFrom", [""]) => Ok(format!("'{from}'")),
            ("__timeTo", [""]) => Ok(format!("'{to}'")),
            ("__timeGroup", [column, interval]) => group(column, interval),
            ("__timeGroupAlias", [column, interval]) => {
                Ok(format!("{} AS \"time\"", group(column, interval)?))
            }
            _ => Err(format!("${name} is unknown, or has other arguments")),
        }
    }
}

fn group(column: &str, interval: &str) -> Result<String, String> {
    let interval = interval.trim_matches('\'');
    let (number, secs_each) = [
        ("s", 1),
        ("m", 60),
        ("h", 3600),
        ("d", 86_400),
        ("w", 604_800),
    ]
    .into_iter()
    .find_map(|(unit, secs)| Some((interval.strip_suffix(unit)?, secs)))
    .ok_or_else(|| format!("{interval} is no interval"))?;
    let number: u32 = number
        .parse()
        .map_err(|_| format!("{interval} is no interval"))?;
    let secs = number * secs_each;
    Ok(format!("floor(extract(epoch from {column})/{secs})*{secs}"))
}

#[test]
fn grafana_macros_are_expanded_and_unknown_ones_refused() {
    let variables = BTreeMap::from([("domain", Variable::Text("o'hara.example".into()))]);
    let expansion = Expansion::of_all_days(variables);

    assert_eq!(
        expansion
            .expand("$__timeFilter(day) and domain = ${domain:sqlstring}")
            .unwrap(),
        "day BETWEEN '2020-01-01T00:00:00Z' AND '2100-01-01T11:22:33.444Z' and domain = 'o''hara.example'"
    );
    assert_eq!(
        expansion
            .expand("$__timeGroupAlias(received_at, $__interval)")
            .unwrap(),
        "floor(extract(epoch from received_at)/86400)*86400 AS \"time\""
    );
    for wrong in [
        "$__bucket(day)",
        "$domain",
        "${domain}",
        "${other:sqlstring}",
        "$__timeGroup(day)",
    ] {
        assert!(expansion.expand(wrong).is_err(), "{wrong}");
    }
}
