//! What drivers are known to see otherwise, each with the reason why it stays so.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{
    judge::{Cell, Difference},
    list::{DRIVERS, FEATURES},
    page::Row,
};

/// What a reviewer reads.
const FILE: &str = "tests/compat/drivers.yaml";

/// The list of them.
pub(super) struct Known(Vec<Group>);

/// Differences of one reason.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    /// For a reader who knows PostgreSQL and not the agent.
    reason: String,
    feature: String,
    places: Vec<Place>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    drivers: Vec<String>,
    /// Where in what their programs print; every one of them, with every driver.
    paths: Vec<String>,
}

impl Known {
    pub(super) fn load() -> Result<Self> {
        let known: Vec<Group> = serde_norway::from_str(&std::fs::read_to_string(FILE)?).context(FILE)?;
        for Group { reason, feature, places } in &known {
            ensure!(!reason.trim().is_empty(), "{FILE}: no reason for {feature}");
            ensure!(FEATURES.contains(&feature.as_str()), "{FILE}: no feature {feature}");
            let mut names = places.iter().flat_map(|place| &place.drivers);
            let unknown = names.find(|name| DRIVERS.iter().all(|driver| driver.name != **name));
            ensure!(unknown.is_none(), "{FILE}: no driver {unknown:?}");
        }
        Ok(Self(known))
    }

    pub(super) fn reasons(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|group| group.reason.as_str())
    }

    /// The same cell with its reasons, where all of its differences have one.
    pub(super) fn explain(&self, driver: &str, feature: &str, cell: Cell) -> Cell {
        let Cell::Differs(differences) = cell else { return cell };
        let reason = |difference: &Difference| {
            self.0.iter().position(|group| {
                let has = |place: &Place| {
                    place.drivers.iter().any(|name| name == driver) && place.paths.contains(&difference.path)
                };
                group.feature == feature && group.places.iter().any(has)
            })
        };
        match differences.iter().map(reason).collect::<Option<Vec<_>>>() {
            Some(mut reasons) => {
                reasons.sort_unstable();
                reasons.dedup();
                Cell::Known(reasons, differences)
            }
            None => Cell::Differs(differences),
        }
    }

    /// What is listed and was tried, and is the same now.
    pub(super) fn mended(&self, rows: &[Row]) -> Vec<String> {
        let mut mended = Vec::new();
        for group in &self.0 {
            let named =
                group.places.iter().flat_map(|place| place.drivers.iter().map(move |name| (name, place)));
            for (name, place) in named {
                let row = rows.iter().find(|row| row.driver == *name);
                let Some(cell) = row.and_then(|row| row.cells.get(group.feature.as_str())) else { continue };
                let found = match cell {
                    Cell::Differs(found) | Cell::Known(_, found) => found.as_slice(),
                    Cell::Masked | Cell::None | Cell::Same => &[],
                };
                let is_found = |path: &&String| found.iter().any(|difference| difference.path == **path);
                let gone = place.paths.iter().filter(|path| !is_found(path));
                mended.extend(gone.map(|path| format!("{name}, {}: {path}", group.feature)));
            }
        }
        mended
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::judge::judge, *};

    fn known() -> Known {
        let text = "[{ reason: r, feature: notify, places: [{ drivers: [psql, asyncpg], paths: [a, b] }] }]";
        Known(serde_norway::from_str(text).unwrap())
    }

    fn row(driver: &'static str, cell: Cell) -> Row {
        let mut row = Row::new(driver, String::new());
        row.cells.insert("notify", cell);
        row
    }

    #[test]
    fn a_feature_is_explained_where_each_of_its_differences_is() {
        let seen = |a: u8, c: u8| {
            judge("notify", &json!({ "a": 0, "b": 0, "c": 0 }), &json!({ "a": a, "b": 0, "c": c }))
        };
        let known = known();
        assert!(
            matches!(known.explain("psql", "notify", seen(1, 0)), Cell::Known(reasons, _) if reasons == [0])
        );
        assert!(matches!(known.explain("psql", "notify", seen(1, 1)), Cell::Differs(_)));
        assert!(matches!(known.explain("psql", "copy", seen(1, 0)), Cell::Differs(_)));
        assert!(matches!(known.explain("pg8000", "notify", seen(1, 0)), Cell::Differs(_)));
        assert!(matches!(known.explain("pg8000", "notify", seen(0, 0)), Cell::Same));
    }

    #[test]
    fn what_is_listed_and_the_same_now_is_mended() {
        let known = known();
        let differs = judge("notify", &json!({ "a": 0, "b": 0 }), &json!({ "a": 1, "b": 0 }));
        let rows = [row("psql", known.explain("psql", "notify", differs)), row("asyncpg", Cell::Same)];
        assert_eq!(known.mended(&rows), ["psql, notify: b", "asyncpg, notify: a", "asyncpg, notify: b"]);
        assert!(known.mended(&[]).is_empty(), "what was not tried is not mended");
    }
}
