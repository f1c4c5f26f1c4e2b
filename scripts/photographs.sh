#!/usr/bin/env bash
# Puts together the photographs that BENCHMARKS.md measures robustness on:
#   scripts/photographs.sh DIR [OTHERS]
# Landscapes, plants, animals and things; no people. From two Debian 12 packages of backgrounds (by
# version and checksum), the demo's photographs and, where it is, the public reference data. Into
# OTHERS go pictures that are only to be told apart: further photographs and drawn backgrounds of
# four packages, and things and animals of a fifth, each on a ground of its own. Left out there are
# cars of one train and shirts of one cut, drawn on the same parts: they are no distinct pictures.
set -euo pipefail

out=${1:?usage: scripts/photographs.sh DIR [OTHERS]}
others=${2:-}
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"

unpack() { # name, version, checksum
  (cd "$work" && apt-get download -qq "$1=$2" >/dev/null)
  local file
  file=$(ls "$work/$1"_*.deb)
  echo "$3  $file" | sha256sum --check --quiet
  dpkg-deb -x "$file" "$work/$1"
}

package() { # name, version, checksum, picture folder, pictures, where to
  unpack "$1" "$2" "$3"
  local picture
  for picture in $5; do
    cp "$work/$1/$4/$picture" "${6:-$out}/$1-$(echo "$picture" | tr / -)"
  done
}
package mate-backgrounds 1.26.0-1 \
  7bf4c2209f34b4f61ba6d24c8b58c28b361e82e4b943aae6d42c030169af9e04 \
  usr/share/backgrounds/mate/nature \
  "Aqua.jpg Blinds.jpg Dune.jpg FreshFlower.jpg Garden.jpg GreenMeadow.jpg LadyBird.jpg
   RainDrops.jpg Storm.jpg TwoWings.jpg Wood.jpg YellowFlower.jpg"
small=contents/images/2560x1600.jpg
package plasma-workspace-wallpapers 4:5.27.5-2 \
  32cd18b71c8c938a18b3b351f217c02ac590e323caa3cf322fbb875ce8892f8b \
  usr/share/wallpapers \
  "BytheWater/$small ColdRipple/$small ColorfulCups/$small DarkestHour/$small EveningGlow/$small
   FallenLeaf/$small Grey/$small Kite/$small OneStandsOut/$small Path/$small summer_1am/$small
   Volna/contents/images/5120x2880.jpg"

demo=$("$here/.venv/bin/python" -c 'import skimage, os; print(os.path.dirname(skimage.__file__))')
for picture in coffee.png rocket.jpg chelsea.png hubble_deep_field.jpg motorcycle_left.png; do
  cp "$demo/data/$picture" "$out/demo-$picture"
done

reference=${ACCORD_REFERENCE:-$here/../shared/reference}
if [ -d "$reference/photos" ]; then
  cp "$reference"/photos/*.jpg "$out/"
else
  echo "photographs: the reference's photographs are not here; set ACCORD_REFERENCE" >&2
fi
find "$out" -type f | wc -l
[ -n "$others" ] || exit 0

mkdir -p "$others"
backgrounds=usr/share/backgrounds
package lomiri-wallpapers-16.04 20.04.0-2 \
  a99ff6a3bfe451e4cc0682ecb3cc82e71740626d59e4845ae34a0a0e45421eab "$backgrounds" \
  "Bridge_by_Sander_Klootwijk.jpg Dragonfly_by_Bolly.jpg Picture_0B_by_freespace.jpg
   Picture_1A_by_freespace.jpg Wine_by_Jakkub_Mede.jpg aitzgorri_by_Aitzol_Berasategi.jpg
   analogpattern_by_Peter_Nerlich.jpg free_by_Peter_Nerlich.jpg greentock_by_Peter_Nerlich.jpg
   life_by_Aitzol_Berasategi.jpg picosdeeuropa_by_Aitzol_Berasategi.jpg
   seeding_by_Clements_Engelhardt.jpg sunset_by_Aitzol_Berasategi.jpg
   umang_by_Abhishek_Mudgal.jpg" "$others"
package lomiri-wallpapers-20.04 20.04.0-2 \
  d44e89b8473aafe64a5b678f014862dc31335aaaf18665c544d985d854f1a709 "$backgrounds" \
  "Fossa_by_Jasper_Roks.jpg Infinite-Sea_by_Aury88.jpg" "$others"
package ukui-wallpapers 20.04.3-1.1 \
  6d49be70152e6d603163458e177e501deb0be8f2916389ccbfcf59b0d7fc0262 "$backgrounds" \
  "2004default.jpg calla.png city.png desert.png firstgeneration.jpg fluent-color.png
   focal-ubuntukylin.png goldfish.png rhythm.jpg rollpaper.png string.jpg the-mouse.jpg" "$others"
package gnome-backgrounds 43.1-1 \
  a670dea21572652127d6e55f9cdb3a226d0037854fdbfd037003c7d00ee0dc4e "$backgrounds/gnome" \
  "adwaita-l.webp grid-l.webp licorice-l.webp pixels-l.webp symbolic-l.webp truchet-l.webp
   wood-l.webp" "$others"
unpack tuxpaint-stamps-default 2022.06.04-1 \
  6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34
"$here/.venv/bin/python" - "$work/tuxpaint-stamps-default/usr/share/tuxpaint/stamps" "$others" <<'PYTHON'
import sys
from pathlib import Path

import numpy as np
from PIL import Image

stamps, others = map(Path, sys.argv[1:])
for path in [*others.iterdir()]:  # As large as the reference's photographs.
    small = Image.open(path).convert("RGB")
    small.thumbnail((1024, 1024), Image.Resampling.LANCZOS)
    path.unlink()
    small.save(path.with_suffix(".jpg"), quality=92)
kinds_wanted = "animals food plants household vehicles town clothes hobbies medical sports space"
alike = ("caboose", "boxcar", "carriage", "toy_train", "t_poloshirt")
seen = set()
for path in sorted(stamps.rglob("*.png")):
    kinds = path.relative_to(stamps).parts
    stem = "".join(filter(str.isalpha, path.stem))[:6]  # One of those that vary a thing.
    thing = Image.open(path).convert("RGBA")
    is_wanted = kinds[0] in kinds_wanted.split() and "cartoon" not in kinds
    if not is_wanted or path.stem in alike or max(thing.size) < 150 or stem in seen:
        continue
    above, below = np.random.default_rng(len(seen)).integers(60, 256, (2, 3))
    seen.add(stem)
    fall = np.linspace(0, 1, 560)[:, None, None]
    ground = np.broadcast_to(above * (1 - fall) + below * fall, (560, 720, 3)).astype(np.uint8)
    page, scale = Image.fromarray(ground), min(640 / thing.width, 480 / thing.height)
    size = round(thing.width * scale), round(thing.height * scale)
    thing = thing.resize(size, Image.Resampling.LANCZOS)
    page.paste(thing, ((720 - size[0]) // 2, (560 - size[1]) // 2), thing)
    page.save(others / f"stamp-{path.stem}.jpg", quality=92)
PYTHON
find "$others" -type f | wc -l
