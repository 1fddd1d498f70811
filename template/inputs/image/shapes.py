

SHAPES = ((60, 80), (64, 64), (97, 96), (150, 100), (240, 80), (64, 110))  # width and height


def shaped_images(content: bytes) -> dict[str, bytes]:
    """Return an encoded image in other shapes, as PNG files by size: the network takes them all."""
    with Image.open(io.BytesIO(content)) as image:
        upright = image.convert("RGB")
    return {
        f"PNG of {width} x {height}": encode(upright.resize((width, height)), "PNG")
        for width, height in SHAPES
    }
