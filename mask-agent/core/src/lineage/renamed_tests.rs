use super::*;

/// Columns of `customers` are masked, and no others.
struct Customers;

impl Masked for Customers {
    fn is_masked(&self, relation: u32, number: i16) -> bool {
        relation == 20_001 && number == 3
    }

    fn is_sensitive(&self, relation: u32) -> bool {
        relation == 20_001
    }

    fn holds(&self, _relation: u32, _number: i16) -> Option<Holds> {
        None
    }

    fn names_column(&self, name: &str) -> bool {
        name == "email"
    }
}

#[test]
fn what_has_the_name_of_a_masked_column_and_is_none_is_renamed() {
    let catalog = fixture::catalog();
    let env = Env { catalog: &catalog, path: None, overlay: &Overlay::default() };
    let refused = |sql: &str| analyse(sql, &env, &Customers).unwrap()[0].refusal.is_some();
    assert!(!refused("alter table archive.thing rename email to mail"));
    assert!(refused("alter table customers rename email to mail"));
    assert!(refused("alter table orders rename email to mail"));
}
