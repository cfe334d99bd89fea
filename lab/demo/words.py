"""What the page says, as HTML in which all text from elsewhere is escaped."""

import math
from html import escape


def verdict(distance: float, threshold: float, probability: float) -> str:
    """Say whether two pictures are of one class, how surely, and show the distance against the threshold.

    Args:
        distance: how far they are apart.
        threshold: up to which distance pictures are called the same; NaN where there is none.
        probability: how probable it is that they are of one class; NaN where that is not known.
    """
    if math.isnan(distance):
        return error("The network gives no finite numbers for these pictures, so they cannot be compared.")
    if math.isnan(threshold):
        return (
            '<p class="verdict">No verdict</p>'
            f"<p>Distance {distance:.3f}. This checkpoint has no threshold to judge it by: the model was "
            "never scored on validation pairs.</p>"
        )
    same = distance <= threshold
    side = "not above" if same else "above"
    chance = "" if math.isnan(probability) else f" The probability of one class is {percent(probability)}."
    return (
        f'<p class="verdict">{"✓ Same class" if same else "✗ Different classes"}</p>'
        f"<p>Distance {distance:.3f}, {side} the threshold {threshold:.3f}"
        f", which was chosen on validation pairs.{chance}</p>{_bar(distance, threshold, same)}"
        '<p class="small">The probability was fitted on validation pairs, as many of one class as of two; of other pictures it '
        "knows nothing.</p>"
    )


def error(message: str) -> str:
    """Say what is wrong."""
    return f'<p class="wrong" role="alert">✗ {escape(message)}</p>'


def hint(message: str) -> str:
    """Say what to do, or what was found."""
    return f"<p>{escape(message)}</p>"


def refusal(said: ValueError, which: str) -> str:
    """Say why a picture was refused, without the path of the copy that was uploaded."""
    _, found, reason = str(said).partition(" cannot be read: ")
    return error(f"{which} cannot be read: {reason}." if found else f"{which}: {said}")


def percent(share: float) -> str:
    """Return a probability in percent, never as quite certain."""
    if share > 0.999:
        return "above 99.9 %"
    return f"{100 * share:.1f} %" if share >= 0.001 else "below 0.1 %"


def _bar(distance: float, threshold: float, same: bool) -> str:
    """Draw the distance on a line on which the threshold is marked."""
    low = min(0.0, 1.15 * min(distance, threshold))
    high = max(1.3 * max(distance, threshold), low + 1e-6)
    place, limit = (500 * (value - low) / (high - low) for value in (distance, threshold))
    anchor = "start" if limit < 120 else "end" if limit > 380 else "middle"
    words = f"distance {distance:.3f}, threshold {threshold:.3f}"
    shape = f'<circle cx="{place:.1f}" cy="46" r="9" fill="currentColor" />'
    if not same:
        shape = f'<rect x="{place - 8:.1f}" y="38" width="16" height="16" fill="currentColor" />'
    return (
        f'<svg viewBox="-12 0 524 84" role="img" aria-label="{words}" class="bar">'
        f'<rect x="0" y="41" width="{limit:.1f}" height="10" fill="#0072B2" opacity="0.55" />'
        f'<rect x="{limit:.1f}" y="41" width="{500 - limit:.1f}" height="10" fill="#D55E00" opacity="0.55" />'
        f'<line x1="{limit:.1f}" x2="{limit:.1f}" y1="26" y2="66" stroke="currentColor" stroke-width="2"'
        ' stroke-dasharray="4 3" />'
        f'{shape}<text x="{limit:.1f}" y="18" text-anchor="{anchor}" class="mark">threshold</text>'
        '<text x="0" y="80" class="mark">same</text><text x="500" y="80" text-anchor="end" class="mark">different</text></svg>'
    )
