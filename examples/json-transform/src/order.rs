//! What an order is, when it is a good one, and the invoice that follows from it. Money is in cents: no floats.

use serde::{Deserialize, Serialize};

const ITEMS_MAX: usize = 1000;
const QUANTITY_MAX: u32 = 10_000;
const UNIT_CENTS_MAX: u64 = 100_000_000;
const TAX_PERCENT_MAX: u32 = 100;

/// What a shop sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    currency: String,
    items: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    sku: String,
    quantity: u32,
    unit_cents: u64,
    tax_percent: u32,
}

/// What it gets back.
#[derive(Serialize)]
pub struct Invoice {
    currency: String,
    lines: Vec<Line>,
    net_cents: u64,
    tax_cents: u64,
    gross_cents: u64,
}

#[derive(Serialize)]
struct Line {
    sku: String,
    quantity: u32,
    net_cents: u64,
    tax_cents: u64,
}

impl Order {
    /// The invoice, or the first thing that is wrong with the order and where.
    pub fn invoice(self) -> Result<Invoice, String> {
        let currency = self.currency;
        if currency.len() != 3 || !currency.bytes().all(|letter| letter.is_ascii_uppercase()) {
            return Err(format!(
                "currency: `{currency}` is not a three-letter code such as EUR"
            ));
        }
        if self.items.is_empty() || self.items.len() > ITEMS_MAX {
            return Err(format!(
                "items: {} of them, 1 to {ITEMS_MAX} are allowed",
                self.items.len()
            ));
        }
        let mut lines = Vec::with_capacity(self.items.len());
        for (index, item) in self.items.into_iter().enumerate() {
            lines.push(
                item.line()
                    .map_err(|problem| format!("items[{index}].{problem}"))?,
            );
        }
        let net_cents = lines.iter().map(|line| line.net_cents).sum::<u64>();
        let tax_cents = lines.iter().map(|line| line.tax_cents).sum::<u64>();
        Ok(Invoice {
            currency,
            lines,
            net_cents,
            tax_cents,
            gross_cents: net_cents + tax_cents,
        })
    }
}

impl Item {
    /// The bounds keep every sum far below what 64 bits hold.
    fn line(self) -> Result<Line, String> {
        if self.sku.trim().is_empty() {
            return Err("sku: empty".to_owned());
        }
        if self.quantity == 0 || self.quantity > QUANTITY_MAX {
            return Err(format!("quantity: {} is not 1 to {QUANTITY_MAX}", self.quantity));
        }
        if self.unit_cents > UNIT_CENTS_MAX {
            return Err(format!(
                "unit_cents: {} is more than {UNIT_CENTS_MAX}",
                self.unit_cents
            ));
        }
        if self.tax_percent > TAX_PERCENT_MAX {
            return Err(format!(
                "tax_percent: {} is more than {TAX_PERCENT_MAX}",
                self.tax_percent
            ));
        }
        let net_cents = self.unit_cents * u64::from(self.quantity);
        // Rounded half up, a line at a time, as invoices are.
        let tax_cents = (net_cents * u64::from(self.tax_percent) + 50) / 100;
        Ok(Line {
            sku: self.sku,
            quantity: self.quantity,
            net_cents,
            tax_cents,
        })
    }
}
