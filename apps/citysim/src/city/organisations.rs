//! Who is responsible: organisations and posts. The names are made up.

use model::AreaLevel;

use super::areas::{DEMO_COMMUNITY, ESTATE};

/// One row of `organisations.csv`.
#[derive(Clone, Copy, Debug)]
pub struct Organisation {
    /// Its code.
    pub code: &'static str,
    /// What kind of organisation.
    pub kind: &'static str,
    /// The area it answers for.
    pub area: &'static str,
    /// Names, Chinese and English.
    pub name: (&'static str, &'static str),
}

/// The organisations of the demo's chain.
#[must_use]
pub fn organisations() -> Vec<Organisation> {
    let of = |code, kind, area, name| Organisation { code, kind, area, name };
    vec![
        of("eb-yubei", "emergency-bureau", "500112", ("示例区应急管理局", "Demo District Emergency Bureau")),
        of("fb-yubei", "fire-brigade", "500112", ("示例区消防救援大队", "Demo District Fire Brigade")),
        of("wc-yubei", "water-company", "500112", ("示例区自来水公司", "Demo District Water Company")),
        of("so-longxi", "street-office", "500112011", ("龙溪街道示例办事处", "Longxi Street Office (demo)")),
        of(
            "cc-jiazhou",
            "community-committee",
            DEMO_COMMUNITY,
            ("嘉州社区示例居委会", "Jiazhou Community Committee (demo)"),
        ),
        of("pm-jiazhou", "property-company", ESTATE, ("清源示例物业服务公司", "Qingyuan Property (demo)")),
    ]
}

/// One row of `posts.csv`: what a process names; a duty roster says who holds it.
#[derive(Clone, Copy, Debug)]
pub struct Post {
    /// Its code, as processes name it.
    pub code: &'static str,
    /// Names, Chinese and English.
    pub name: (&'static str, &'static str),
    /// The level of the areas it is held at.
    pub level: AreaLevel,
}

/// The four posts that an alarm climbs.
#[must_use]
pub fn posts() -> Vec<Post> {
    let of = |code, name, level| Post { code, name, level };
    vec![
        of("property-duty", ("物业值班岗", "Property duty"), AreaLevel::Estate),
        of("community-duty", ("社区值班岗", "Community duty"), AreaLevel::Community),
        of("street-duty", ("街道值班岗", "Street duty"), AreaLevel::Street),
        of("district-duty", ("区级值班岗", "District duty"), AreaLevel::District),
    ]
}
