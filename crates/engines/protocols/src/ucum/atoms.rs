//! The units that are known, by UCUM's definitions (tables 1 to 26 of the specification 2.1), in
//! terms of metre, second, gram, radian, kelvin, coulomb and candela.

use super::linear::Scale;

/// Exponents of: metre, second, gram, radian, kelvin, coulomb, candela, and of what measures
/// nothing but itself ([`Own`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dimension {
    pub(super) exponents: [i8; 7],
    /// Which unit of its own kind, with its exponent.
    pub(super) own: Option<(Own, i8)>,
}

/// Kinds of quantity that nothing else converts to: arbitrary units, and logarithms, whose ratios
/// are not those of the quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Own {
    Bel,
    SoundPressureLevel,
    Ph,
    Turbidity,
    FormazinTurbidity,
    InternationalUnit,
    ColonyFormingUnit,
}

/// One unit.
pub(super) struct Atom {
    pub(super) code: &'static str,
    /// Whether it takes prefixes.
    pub(super) metric: bool,
    pub(super) scale: Scale,
    /// Where its zero lies, in kelvin: only of units that stand alone.
    pub(super) offset: f64,
    pub(super) dimension: Dimension,
}

impl Atom {
    /// Whether its scale begins elsewhere than at nothing, so that a product of it means nothing.
    pub(super) fn stands_alone(&self) -> bool {
        self.offset != 0.0
    }
}

/// The dimension `m^a s^b g^c rad^d K^e C^f cd^g`.
const fn si(exponents: [i8; 7]) -> Dimension {
    Dimension { exponents, own: None }
}

const fn own(own: Own) -> Dimension {
    Dimension { exponents: [0; 7], own: Some((own, 1)) }
}

const fn atom(code: &'static str, metric: bool, mantissa: f64, ten: i32, dimension: Dimension) -> Atom {
    Atom { code, metric, scale: Scale::new(mantissa, ten), offset: 0.0, dimension }
}

const NUMBER: Dimension = si([0, 0, 0, 0, 0, 0, 0]);
const LENGTH: Dimension = si([1, 0, 0, 0, 0, 0, 0]);
const AREA: Dimension = si([2, 0, 0, 0, 0, 0, 0]);
const VOLUME: Dimension = si([3, 0, 0, 0, 0, 0, 0]);
const TIME: Dimension = si([0, 1, 0, 0, 0, 0, 0]);
const MASS: Dimension = si([0, 0, 1, 0, 0, 0, 0]);
const ANGLE: Dimension = si([0, 0, 0, 1, 0, 0, 0]);
const TEMPERATURE: Dimension = si([0, 0, 0, 0, 1, 0, 0]);
const SPEED: Dimension = si([1, -1, 0, 0, 0, 0, 0]);
const FREQUENCY: Dimension = si([0, -1, 0, 0, 0, 0, 0]);
const FORCE: Dimension = si([1, -2, 1, 0, 0, 0, 0]);
const PRESSURE: Dimension = si([-1, -2, 1, 0, 0, 0, 0]);
const ENERGY: Dimension = si([2, -2, 1, 0, 0, 0, 0]);
const POWER: Dimension = si([2, -3, 1, 0, 0, 0, 0]);

const PI: f64 = std::f64::consts::PI;
/// Pressures of columns of mercury and of water by the metre, in kilopascal (UCUM, table 18).
const MERCURY: f64 = 133.322;
const WATER: f64 = 9.80665;
/// A second of arc, in radian.
const ARC_SECOND: f64 = PI / 648_000.0;

/// Every unit.
pub(super) const ATOMS: &[Atom] = &[
    // Base units.
    atom("m", true, 1.0, 0, LENGTH),
    atom("s", true, 1.0, 0, TIME),
    atom("g", true, 1.0, 0, MASS),
    atom("rad", true, 1.0, 0, ANGLE),
    atom("K", true, 1.0, 0, TEMPERATURE),
    atom("C", true, 1.0, 0, si([0, 0, 0, 0, 0, 1, 0])),
    atom("cd", true, 1.0, 0, si([0, 0, 0, 0, 0, 0, 1])),
    // Numbers.
    atom("10*", false, 1.0, 1, NUMBER),
    atom("10^", false, 1.0, 1, NUMBER),
    atom("[pi]", false, PI, 0, NUMBER),
    atom("%", false, 1.0, -2, NUMBER),
    atom("[ppth]", false, 1.0, -3, NUMBER),
    atom("[ppm]", false, 1.0, -6, NUMBER),
    atom("[ppb]", false, 1.0, -9, NUMBER),
    atom("[pptr]", false, 1.0, -12, NUMBER),
    atom("mol", true, 6.022_136_7, 23, NUMBER),
    // Derived units of the SI.
    atom("sr", true, 1.0, 0, si([0, 0, 0, 2, 0, 0, 0])),
    atom("Hz", true, 1.0, 0, FREQUENCY),
    atom("N", true, 1.0, 3, FORCE),
    atom("Pa", true, 1.0, 3, PRESSURE),
    atom("J", true, 1.0, 3, ENERGY),
    atom("W", true, 1.0, 3, POWER),
    atom("A", true, 1.0, 0, si([0, -1, 0, 0, 0, 1, 0])),
    atom("V", true, 1.0, 3, si([2, -2, 1, 0, 0, -1, 0])),
    atom("F", true, 1.0, -3, si([-2, 2, -1, 0, 0, 2, 0])),
    atom("Ohm", true, 1.0, 3, si([2, -1, 1, 0, 0, -2, 0])),
    atom("S", true, 1.0, -3, si([-2, 1, -1, 0, 0, 2, 0])),
    atom("Wb", true, 1.0, 3, si([2, -1, 1, 0, 0, -1, 0])),
    atom("T", true, 1.0, 3, si([0, -1, 1, 0, 0, -1, 0])),
    atom("H", true, 1.0, 3, si([2, 0, 1, 0, 0, -2, 0])),
    atom("lm", true, 1.0, 0, si([0, 0, 0, 2, 0, 0, 1])),
    atom("lx", true, 1.0, 0, si([-2, 0, 0, 2, 0, 0, 1])),
    atom("Bq", true, 1.0, 0, FREQUENCY),
    atom("Gy", true, 1.0, 0, si([2, -2, 0, 0, 0, 0, 0])),
    atom("Sv", true, 1.0, 0, si([2, -2, 0, 0, 0, 0, 0])),
    Atom { code: "Cel", metric: false, scale: Scale::ONE, offset: 273.15, dimension: TEMPERATURE },
    // With the SI.
    atom("l", true, 1.0, -3, VOLUME),
    atom("L", true, 1.0, -3, VOLUME),
    atom("ar", true, 1.0, 2, AREA),
    atom("har", false, 1.0, 4, AREA),
    atom("t", true, 1.0, 6, MASS),
    atom("bar", true, 1.0, 8, PRESSURE),
    atom("atm", false, 1.01325, 8, PRESSURE),
    atom("min", false, 60.0, 0, TIME),
    atom("h", false, 3600.0, 0, TIME),
    atom("d", false, 86_400.0, 0, TIME),
    atom("wk", false, 604_800.0, 0, TIME),
    atom("mo", false, 2_629_800.0, 0, TIME),
    atom("a", false, 31_557_600.0, 0, TIME),
    atom("deg", false, ARC_SECOND * 3600.0, 0, ANGLE),
    atom("'", false, ARC_SECOND * 60.0, 0, ANGLE),
    atom("''", false, ARC_SECOND, 0, ANGLE),
    atom("gon", false, PI / 200.0, 0, ANGLE),
    atom("[g]", true, 9.80665, 0, si([1, -2, 0, 0, 0, 0, 0])),
    atom("gf", true, 9.80665, 0, FORCE),
    atom("eV", true, 1.602_176_34, -16, ENERGY),
    atom("cal", true, 4.184, 3, ENERGY),
    atom("m[H2O]", true, WATER, 6, PRESSURE),
    atom("m[Hg]", true, MERCURY, 6, PRESSURE),
    atom("bit", true, 1.0, 0, NUMBER),
    atom("By", true, 8.0, 0, NUMBER),
    atom("Bd", true, 1.0, 0, FREQUENCY),
    // International customary units.
    atom("[in_i]", false, 2.54, -2, LENGTH),
    atom("[ft_i]", false, 30.48, -2, LENGTH),
    atom("[yd_i]", false, 91.44, -2, LENGTH),
    atom("[mi_i]", false, 1609.344, 0, LENGTH),
    atom("[nmi_i]", false, 1852.0, 0, LENGTH),
    atom("[kn_i]", false, 1852.0 / 3600.0, 0, SPEED),
    atom("[sin_i]", false, 6.4516, -4, AREA),
    atom("[sft_i]", false, 929.0304, -4, AREA),
    atom("[cft_i]", false, 28_316.846_592, -6, VOLUME),
    atom("[gal_us]", false, 3_785.411_784, -6, VOLUME),
    atom("[oz_av]", false, 28.349_523_125, 0, MASS),
    atom("[lb_av]", false, 453.592_37, 0, MASS),
    atom("[lbf_av]", false, 453.592_37 * 9.80665, 0, FORCE),
    atom("[psi]", false, 453.592_37 * 9.80665 / 6.4516, 4, PRESSURE),
    atom("[in_i'Hg]", false, MERCURY * 2.54, 4, PRESSURE),
    atom("[in_i'H2O]", false, WATER * 2.54, 4, PRESSURE),
    atom("[HP]", false, 550.0 * 0.3048 * 453.592_37 * 9.80665, 0, POWER),
    atom("[Btu_IT]", false, 1.055_055_852_62, 6, ENERGY),
    atom("[degR]", false, 5.0 / 9.0, 0, TEMPERATURE),
    Atom {
        code: "[degF]",
        metric: false,
        scale: Scale::new(5.0 / 9.0, 0),
        offset: 459.67 * 5.0 / 9.0,
        dimension: TEMPERATURE,
    },
    // Kinds of their own.
    atom("B", true, 1.0, 0, own(Own::Bel)),
    atom("B[SPL]", true, 1.0, 0, own(Own::SoundPressureLevel)),
    atom("[pH]", false, 1.0, 0, own(Own::Ph)),
    atom("[NTU]", false, 1.0, 0, own(Own::Turbidity)),
    atom("[FNU]", false, 1.0, 0, own(Own::FormazinTurbidity)),
    atom("[IU]", true, 1.0, 0, own(Own::InternationalUnit)),
    atom("[iU]", true, 1.0, 0, own(Own::InternationalUnit)),
    atom("[CFU]", false, 1.0, 0, own(Own::ColonyFormingUnit)),
];

/// The prefixes: powers of ten, and those of 1,024.
pub(super) const PREFIXES: &[(&str, Scale)] = &[
    ("da", Scale::new(1.0, 1)),
    ("Ki", Scale::new(1024.0, 0)),
    ("Mi", Scale::new(1_048_576.0, 0)),
    ("Gi", Scale::new(1_073_741_824.0, 0)),
    ("Ti", Scale::new(1_099_511_627_776.0, 0)),
    ("Y", Scale::new(1.0, 24)),
    ("Z", Scale::new(1.0, 21)),
    ("E", Scale::new(1.0, 18)),
    ("P", Scale::new(1.0, 15)),
    ("T", Scale::new(1.0, 12)),
    ("G", Scale::new(1.0, 9)),
    ("M", Scale::new(1.0, 6)),
    ("k", Scale::new(1.0, 3)),
    ("h", Scale::new(1.0, 2)),
    ("d", Scale::new(1.0, -1)),
    ("c", Scale::new(1.0, -2)),
    ("m", Scale::new(1.0, -3)),
    ("u", Scale::new(1.0, -6)),
    ("n", Scale::new(1.0, -9)),
    ("p", Scale::new(1.0, -12)),
    ("f", Scale::new(1.0, -15)),
    ("a", Scale::new(1.0, -18)),
    ("z", Scale::new(1.0, -21)),
    ("y", Scale::new(1.0, -24)),
];
