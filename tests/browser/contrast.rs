//! Checks the contrast between the text of the page and its background.

use crate::chromium::Chromium;

/// Returns every text of the page, in HTML and SVG, whose contrast is lower than level AA of WCAG 2
/// requires. The limit is 4.5, or 3 for large text.
pub(crate) fn faint_texts(browser: &Chromium) -> Vec<String> {
    let found = browser.run(
        "const rgb = (color) => color.match(/[\\d.]+/g).map(Number);
         const light = (color) => {
           const [r, g, b] = rgb(color).map((part) => part / 255).map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
           return 0.2126 * r + 0.7152 * g + 0.0722 * b;
         };
         const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
         const solid = (color) => color !== 'none' && (rgb(color)[3] ?? 1) === 1;
         const behind = (element) => {
           for (let at = element; at; at = at.parentElement) {
             if (at.matches('g.node')) return getComputedStyle(at.querySelector('rect')).fill;
             if (at.matches('text.middle')) return getComputedStyle(document.querySelector('rect.hub')).fill;
             const color = getComputedStyle(at).backgroundColor;
             if (solid(color)) return color;
           }
           return 'rgb(255, 255, 255)';
         };
         const faint = [];
         let seen = 0;
         for (const element of document.body.querySelectorAll('*')) {
           const written = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
           if (!written || !element.checkVisibility() || element.matches('noscript, title, .unseen, .unseen *')) continue;
           seen += 1;
           const style = getComputedStyle(element);
           const text = element.matches('text') ? style.fill : style.color;
           const size = parseFloat(style.fontSize);
           const enough = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
           const found = contrast(text, behind(element));
           if (found < enough) faint.push(`${found.toFixed(2)} ${element.tagName}.${element.className} ${element.textContent}`);
         }
         if (seen < 20) faint.push(`only ${seen} texts`);
         return faint",
    );
    let found = found.as_array().expect("a list");
    found.iter().map(ToString::to_string).collect()
}
