#!/usr/bin/env bash
# Puts together the photographs that BENCHMARKS.md measures robustness on: scripts/photographs.sh DIR
# Landscapes, plants, animals and things; no people. From two Debian 12 packages of backgrounds (by
# version and checksum), the demo's photographs and, where it is, the public reference data.
set -euo pipefail

out=${1:?usage: scripts/photographs.sh DIR}
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"

package() { # name, version, checksum, picture folder, pictures
  (cd "$work" && apt-get download -qq "$1=$2" >/dev/null)
  local file
  file=$(ls "$work/$1"_*.deb)
  echo "$3  $file" | sha256sum --check --quiet
  dpkg-deb -x "$file" "$work/$1"
  local picture
  for picture in $5; do
    cp "$work/$1/$4/$picture" "$out/$1-$(echo "$picture" | tr / -)"
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
