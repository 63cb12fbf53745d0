//! Units by their definitions, there and back.

use proptest::prelude::*;
use protocols::ucum::{Linear, UcumError, check, conversion};

fn turned(value: f64, from: &str, to: &str) -> f64 {
    conversion(from, to).unwrap_or_else(|e| panic!("{e}")).apply(value)
}

#[test]
fn units_turn_into_each_other_by_their_definitions() {
    for (value, from, to, expected) in [
        // Decimal prefixes are exact.
        (187.0, "kPa", "MPa", 0.187),
        (0.187, "MPa", "kPa", 187.0),
        (1.87, "bar", "MPa", 0.187),
        (3.0, "mm", "m", 0.003),
        (1.0, "dam", "m", 10.0),
        (5.0, "um", "mm", 0.005),
        (1.0, "t", "kg", 1000.0),
        (1.0, "L", "m3", 0.001),
        (1.0, "m3", "l", 1000.0),
        (2.5, "har", "m2", 25_000.0),
        (36.0, "km/h", "m/s", 10.0),
        (90.0, "L/min", "m3/h", 5.4),
        (1.0, "kW.h", "J", 3.6e6),
        (1.0, "W.h", "kJ", 3.6),
        (1.0, "V.A", "W", 1.0),
        (12.0, "mA", "A", 0.012),
        (1.0, "lx", "lm/m2", 1.0),
        (1.0, "lm", "cd.sr", 1.0),
        (1.0, "N.m", "J", 1.0),
        (1.0, "kg.m.s-2", "N", 1.0),
        (1.0, "Pa.s", "kg/(m.s)", 1.0),
        (50.0, "Hz", "/s", 50.0),
        (50.0, "Hz", "s-1", 50.0),
        (1.0, "S/m", "uS/cm", 10_000.0),
        (35.0, "ug/m3", "mg/m3", 0.035),
        (1.0, "mg/L", "g/m3", 1.0),
        // Numbers.
        (12.0, "%", "1", 0.12),
        (400.0, "[ppm]", "%", 0.04),
        (1.0, "[ppb]", "[ppm]", 0.001),
        (2.0, "10*3", "1", 2000.0),
        (2.0, "10*-3/m", "mm-1.10^-6", 2.0),
        (3.0, "{cars}/min", "/h", 180.0),
        (3.0, "m{above datum}", "cm", 300.0),
        (1.0, "MiBy", "KiBy", 1024.0),
        (1.0, "By", "bit", 8.0),
        // Times.
        (1.0, "d", "h", 24.0),
        (1.0, "wk", "d", 7.0),
        (1.0, "a", "d", 365.25),
        (12.0, "mo", "a", 1.0),
        // Angles.
        (180.0, "deg", "rad", std::f64::consts::PI),
        (1.0, "deg", "'", 60.0),
        (1.0, "'", "''", 60.0),
        (100.0, "gon", "deg", 90.0),
        // Pressures.
        (1.0, "atm", "Pa", 101_325.0),
        (1.0, "m[H2O]", "kPa", 9.80665),
        (20.0, "m[H2O]", "MPa", 0.196_133),
        (760.0, "mm[Hg]", "kPa", 101.324_72),
        (1.0, "[psi]", "Pa", 6_894.757_293_168_361),
        (1.0, "[in_i'Hg]", "Pa", 3_386.378_8),
        // Customary lengths and speeds.
        (1.0, "[mi_i]", "m", 1609.344),
        (1.0, "[ft_i]", "[in_i]", 12.0),
        (1.0, "[mi_i]", "[ft_i]", 5280.0),
        (1.0, "[kn_i]", "m/s", 1852.0 / 3600.0),
        (1.0, "[kn_i]", "[nmi_i]/h", 1.0),
        (1.0, "[lb_av]", "kg", 0.453_592_37),
        (1.0, "[gal_us]", "L", 3.785_411_784),
        (1.0, "[cft_i]", "[in_i]3", 1728.0),
        (1.0, "[HP]", "W", 745.699_871_582_270_2),
        // Temperatures.
        (25.0, "Cel", "K", 298.15),
        (298.15, "K", "Cel", 25.0),
        (212.0, "[degF]", "Cel", 100.0),
        (-40.0, "Cel", "[degF]", -40.0),
        (5.0, "mK", "K", 0.005),
        // Logarithms turn into themselves.
        (65.0, "dB", "B", 6.5),
        (65.0, "dB[SPL]", "B[SPL]", 6.5),
        (7.2, "[pH]", "[pH]", 7.2),
        (2.0, "[NTU]", "[NTU]", 2.0),
        (60.0, "dB{A}", "dB", 60.0),
    ] {
        let result = turned(value, from, to);
        let error = (result - expected).abs() / expected.abs().max(1.0);
        assert!(error < 1e-12, "{value} {from} is {result} {to}, not {expected}");
    }
    // To the last digit, since the lake stores what comes out.
    for (value, from, to, expected) in [
        (187.0, "kPa", "MPa", 0.187),
        (0.3, "kPa", "Pa", 300.0),
        (21.37, "dm", "m", 2.137),
        (7.0, "mm", "cm", 0.7),
    ] {
        assert_eq!(turned(value, from, to).to_bits(), f64::to_bits(expected), "{value} {from}");
    }
    assert_eq!(conversion("Cel", "Cel").unwrap(), Linear::IDENTITY);
    assert!((conversion("[degF]", "K").unwrap().scale() - 5.0 / 9.0).abs() < 1e-15);
}

#[test]
fn what_measures_something_else_names_both_units() {
    for (from, to) in [
        ("m", "s"),
        ("Pa", "N"),
        ("Cel", "m"),
        ("L", "m2"),
        ("lx", "lm"),
        ("dB", "1"),
        ("dB", "dB[SPL]"),
        ("[pH]", "1"),
        ("[NTU]", "[FNU]"),
        ("rad", "1"),
        ("K/min", "K"),
    ] {
        let error = conversion(from, to).unwrap_err();
        assert_eq!(error, UcumError::Dimension { from: from.into(), to: to.into() });
        assert!(
            error.to_string().contains(&format!("{from:?}"))
                && error.to_string().contains(&format!("{to:?}"))
        );
    }
}

#[test]
fn what_is_no_unit_says_why() {
    for (unit, reason) in [
        ("", "is empty"),
        ("foo", "no unit \"foo\" is known"),
        ("mpa", "no unit \"mpa\" is known"),
        ("kmin", "no unit \"kmin\" is known"),
        ("k", "no unit \"k\" is known"),
        ("°C", "no unit \"°C\" is known"),
        ("m.", "something is missing at its end"),
        ("m//s", "\"/\" was not expected"),
        ("m s", "no unit \"m s\" is known"),
        ("(m", "a parenthesis does not end"),
        ("m)", "\")\" was not expected"),
        ("m[H2O", "a bracket does not end"),
        ("m{x", "an annotation does not end"),
        ("m-", "an exponent has a sign and no digits"),
        ("m31", "an exponent is above 30"),
        ("0.m", "a factor is 0"),
        ("99999999999", "too large"),
        ("m30.m30.m30.m30.m30", "beyond all measure"),
        ("Ym30", "beyond all measure"),
        ("Cel/min", "Cel cannot be part of a product"),
        ("Cel2", "Cel cannot be part of a product"),
        ("/Cel", "Cel cannot be part of a product"),
        ("2.[degF]", "[degF] cannot be part of a product"),
        ("((((((((((m))))))))))", "more than 8 deep"),
        ("B.[pH]", "cannot be multiplied"),
    ] {
        let error = check(unit).unwrap_err().to_string();
        assert!(error.contains(reason), "{unit}: {error}");
    }
    assert!(check(&"m.".repeat(100)).unwrap_err().to_string().contains("longer than 128 bytes"));
    for unit in ["{a}", "1", "(Cel)", "Cel{indoor}", "m0", "km2/(h.d)"] {
        check(unit).unwrap_or_else(|e| panic!("{e}"));
    }
}

fn quantity() -> impl Strategy<Value = (&'static str, &'static str)> {
    prop::sample::select(vec![
        ("kPa", "[psi]"),
        ("MPa", "m[H2O]"),
        ("bar", "mm[Hg]"),
        ("Cel", "[degF]"),
        ("Cel", "K"),
        ("km/h", "[kn_i]"),
        ("L/s", "m3/h"),
        ("kW.h", "MJ"),
        ("deg", "rad"),
        ("[ppm]", "%"),
        ("t", "[lb_av]"),
        ("d", "a"),
    ])
}

proptest! {
    #[test]
    fn there_and_back((from, to) in quantity(), value in -1e6f64..1e6) {
        let back = turned(turned(value, from, to), to, from);
        prop_assert!((back - value).abs() <= 1e-9 * value.abs().max(1.0), "{value} {from} came back as {back}");
    }

    #[test]
    fn any_text_is_a_unit_or_none(text in "[a-zA-Z0-9\\[\\]{}()./*^+'%°-]{0,24}") {
        if check(&text).is_ok() {
            let same = conversion(&text, &text).unwrap();
            prop_assert_eq!(same, Linear::IDENTITY);
        }
    }
}
