"""Valid, corrupt and malformed requests, each with the statuses that are correct.

Each case is the bytes of a whole HTTP request, so that one simple client can send all.
"""

import base64
import gzip
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

MARK = b"squeamish"  # part of many requests; no answer may contain it
OK, MALFORMED, TOO_LARGE = {200}, {400}, {413}
NO_IMAGE, CORRUPT = {415}, {422}
REFUSED = NO_IMAGE | CORRUPT  # A file with a corrupt start has no known format.
MULTIPART = "multipart/form-data; boundary=B"
JSON = "application/json"
TILES = (324, 4, 1, 8)
BODY_SIZE = 19_000_000  # bytes; the limit is 20,000,000
EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Case:
    """One request and its correct answers."""

    name: str
    request: bytes
    statuses: set[int]
    text: str | None = None  # the body of the answer, if only one is correct
    reaches_app: bool = True  # False for malformed HTTP, which gunicorn refuses
    half_closes: bool = False  # The client closes its sending side.


def http(
    body: bytes, kind: str | None, method: str = "POST", **headers: object
) -> bytes:
    """Return an HTTP request without the headers whose value is None."""
    lines = {"Host": "test", "Connection": "close"}
    lines |= {"Content-Length": len(body), "Content-Type": kind}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = [f"{name}: {value}" for name, value in lines.items() if value is not None]
    return "\r\n".join([f"{method} / HTTP/1.1", *head, "", ""]).encode() + body


def chunked(data: bytes, size: int = 5000, kind: str | None = None) -> bytes:
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return http(
        body + b"0\r\n\r\n", kind, Content_Length=None, Transfer_Encoding="chunked"
    )


def part(data: bytes, name: str = "file", filename: str | None = "x.jpg") -> bytes:
    filename = "" if filename is None else f'; filename="{filename}"'
    head = f'--B\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n\r\n'
    return head.encode() + data + b"\r\n"


def form(*parts: bytes, end: bytes = b"--B--\r\n", kind: str = MULTIPART) -> bytes:
    return http(b"".join(parts) + end, kind)


def typed(kind: str, body: bytes) -> bytes:
    return http(body, kind)


def as_json(value: object) -> bytes:
    return typed(JSON, json.dumps(value).encode())


def base64_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pattern(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    """Return an image without symmetries."""
    x, y = np.arange(width), np.arange(height)[:, None]
    bands = (x * 7 + y, x + y * 5, x * y)
    pixels = np.stack([band % 256 for band in bands], -1).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def jpeg(width: int = 64, height: int = 48, mode: str = "RGB", **options) -> bytes:
    return saved(pattern(width, height, mode), "JPEG", **options)


def png(width: int = 64, height: int = 48, mode: str = "RGB", **options) -> bytes:
    return saved(pattern(width, height, mode), "PNG", **options)


def values(kind: type, mode: str | None = None) -> Image.Image:
    numbers = np.linspace(0, 60_000, 64 * 48).reshape(48, 64)
    return Image.fromarray(numbers.astype(kind), mode)


def seeds() -> dict[str, bytes]:
    """Return a valid image of 64 by 48 pixels for each supported kind of file."""
    movie = {"save_all": True, "append_images": [pattern().rotate(90)], "duration": 50}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    files = {
        "jpeg": jpeg(),
        "jpeg grey": jpeg(mode="L"),
        "jpeg progressive": jpeg(progressive=True),
        "jpeg restarts": jpeg(restart_marker_blocks=1),
        "jpeg cmyk": jpeg(mode="CMYK"),
        "jpeg ycck": jpeg(mode="CMYK").replace(b"Adobe\0\x64\0\0\0\0\0", YCCK, 1),
        "jpeg icc": jpeg(icc_profile=profile),
        "jpeg icc garbage": jpeg(icc_profile=MARK * 100),
        "jpeg exif": jpeg(exif=exif(3)),
        "jpeg comment": jpeg(comment=MARK),
        "jpeg multi-picture": saved(
            pattern(), "MPO", save_all=True, append_images=[pattern()]
        ),
        "png": png(),
        "png interlaced": adam7(),
        "png 16-bit colour": deep_png(),
        "png 16-bit grey": saved(values(np.uint16), "PNG"),
        "png clear colour": png(transparency=(0, 0, 0)),
        "png clear grey": png(mode="L", transparency=0),
        "png palette alpha": png(mode="P", transparency=bytes(range(256))),
        "png icc": png(icc_profile=profile),
        "png exif": png(exif=exif(3)),
        "png animated": saved(pattern(), "PNG", **movie),
        "gif": saved(pattern(mode="P"), "GIF"),
        "gif clear": saved(pattern(mode="P"), "GIF", transparency=3),
        "gif animated": saved(pattern(), "GIF", **movie),
        "webp": saved(pattern(), "WEBP"),
        "webp lossless": saved(pattern(mode="RGBA"), "WEBP", lossless=True),
        "webp exif": saved(pattern(), "WEBP", exif=exif(3), icc_profile=profile),
        "webp animated": saved(pattern(), "WEBP", **movie),
        "tiff jpeg": saved(pattern(), "TIFF", compression="jpeg"),
        "tiff lzw": saved(pattern(), "TIFF", compression="tiff_lzw"),
        "tiff deflate": saved(pattern(), "TIFF", compression="tiff_adobe_deflate"),
        "tiff packbits": saved(pattern(), "TIFF", compression="packbits"),
        "tiff fax": saved(pattern(mode="1"), "TIFF", compression="group4"),
        "tiff pages": saved(pattern(), "TIFF", **movie),
        "tiff big": saved(pattern(), "TIFF", big_tiff=True),
        "tiff exif": saved(pattern(), "TIFF", tiffinfo={EXIF_ORIENTATION: 3}),
        "tiff 32-bit": saved(values(np.int32), "TIFF"),
        "tiff float": saved(values(np.float32), "TIFF"),
        "tiff 16-bit": saved(values(np.uint16), "TIFF"),
        "tiff 16-bit big-endian": saved(values(">u2"), "TIFF"),
    }
    files |= {f"png {mode}": png(mode=mode) for mode in ("1", "L", "LA", "P", "RGBA")}
    files |= {f"bmp {mode}": saved(pattern(mode=mode), "BMP") for mode in BMP_MODES}
    files |= {f"tiff {mode}": saved(pattern(mode=mode), "TIFF") for mode in TIFF_MODES}
    return files


YCCK = b"Adobe\0\x64\0\0\0\0\2"
BMP_MODES = ("1", "L", "P", "RGB", "RGBA")
TIFF_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB")


def exif(orientation: object) -> bytes:
    block = Image.Exif()
    block[EXIF_ORIENTATION] = orientation
    return block.tobytes()


def directory(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    """Return a TIFF without pixels, with entries (tag, type, count, value)."""
    rows = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0%b%b" % (
        struct.pack("<H", len(entries)) + rows,
        struct.pack("<I", following),
    )


def segment(marker: int, data: bytes) -> bytes:
    """Return a JPEG segment."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def with_segments(*segments: bytes, file: bytes | None = None) -> bytes:
    """Return a valid JPEG with more segments at its start."""
    file = file or jpeg()
    return file[:2] + b"".join(segments) + file[2:]


def with_exif(block: bytes) -> bytes:
    return with_segments(segment(0xE1, b"Exif\0\0" + block))


def resized_jpeg(width: int, height: int, file: bytes | None = None) -> bytes:
    """Return a JPEG whose header has another size than its pixels."""
    file = file or jpeg()
    frame = max(file.find(b"\xff\xc0"), file.find(b"\xff\xc2")) + 5
    return file[:frame] + struct.pack(">HH", height, width) + file[frame + 4 :]


def scanned(width: int, height: int, scans: int) -> bytes:
    """Return a progressive JPEG that repeats its last scan."""
    file = saved(Image.new("L", (64, 64)), "JPEG", progressive=True)
    last = file.rfind(b"\xff\xda")
    scan = file[last:-2]
    return resized_jpeg(width, height, file[:last] + scan * scans + b"\xff\xd9")


def arithmetic() -> bytes:
    return jpeg().replace(b"\xff\xc0", b"\xff\xc9", 1)


def chunk(kind: bytes, data: bytes, check: int | None = None) -> bytes:
    """Return a PNG chunk."""
    check = zlib.crc32(kind + data) if check is None else check
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def png_of(
    width: int, height: int, pixels: bytes = b"", *chunks: bytes, header=(8, 2, 0, 0, 0)
) -> bytes:
    size = struct.pack(">II5B", width, height, *header)
    pixels = chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + b"".join(chunks) + pixels


def with_chunks(*chunks: bytes) -> bytes:
    file = png()
    return file[:33] + b"".join(chunks) + file[33:]


def deep_png() -> bytes:
    row = b"\0" + bytes(range(256)) + bytes(128)
    return png_of(64, 48, row * 48, header=(16, 2, 0, 0, 0))


def adam7() -> bytes:
    """Return an interlaced PNG: seven passes, with a filter byte in each row."""
    passes = ((8, 8), (8, 8), (4, 8), (4, 4), (2, 4), (2, 2), (1, 2))
    starts = ((0, 0), (4, 0), (0, 4), (2, 0), (0, 2), (1, 0), (0, 1))
    rows = b""
    for (step_x, step_y), (x, y) in zip(passes, starts):
        rows += (b"\0" + b"\x80" * len(range(x, 64, step_x))) * len(
            range(y, 48, step_y)
        )
    return png_of(64, 48, rows, header=(8, 0, 0, 0, 1))


def gif_of(screen: tuple[int, int], frame: tuple[int, int], data: bytes = b"") -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", *screen, 0, 0, 0)
    return head + b"," + struct.pack("<4HB", 0, 0, *frame, 0) + b"\x08" + data + b"\0;"


def webp_of(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
        for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def bmp_of(
    width: int, height: int, data: bytes = b"", bits: int = 24, packing: int = 0
) -> bytes:
    palette = bytes(1024) if bits == 8 else b""
    size = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, packing, *[0] * 5)
    return (
        struct.pack("<2sIHHI", b"BM", 0, 0, 0, 54 + len(palette))
        + size
        + palette
        + data
    )


def rle_bmp(width: int, height: int, runs: bytes) -> bytes:
    return bmp_of(width, height, runs, bits=8, packing=1)


def tiff_of(width: int, height: int, *entries: tuple[int, int, int, int]) -> bytes:
    """Return an uncompressed grey TIFF without its pixels."""
    basic = {256: (256, 4, 1, width), 257: (257, 4, 1, height), 258: (258, 3, 1, 8)}
    basic |= {259: (259, 3, 1, 1), 262: (262, 3, 1, 1), 273: (273, 4, 1, 8)}
    basic |= {278: (278, 4, 1, height), 279: (279, 4, 1, width * height % 2**32)}
    basic |= {entry[0]: entry for entry in entries}
    return directory(*basic.values())


def cases() -> Iterator[Case]:
    """Yield every case; each is made only when it is needed, as some are large."""
    for group_of_cases in GROUPS:
        yield from group_of_cases()


def group(
    name: str, statuses: set[int], requests: dict[str, bytes], **more: object
) -> Iterator[Case]:
    for detail, request in requests.items():
        yield Case(f"{name}: {detail}", request, statuses, **more)


def files(
    name: str, statuses: set[int], files: dict[str, bytes], **more
) -> Iterator[Case]:
    requests = {detail: as_body(data) for detail, data in files.items()}
    yield from group(name, statuses, requests, **more)


def as_body(data: bytes) -> bytes:
    return http(data, "image/jpeg")


def valid_images() -> Iterator[Case]:
    yield from files("valid", OK, seeds(), text="64 by 48\n")
    for width, height in ((1, 1), (1, 20_000), (20_000, 1), (2, 3)):
        image, size = Image.new("RGB", (width, height)), f"{width} by {height}"
        kinds = ("PNG", "TIFF", "BMP", "GIF", "JPEG")
        images = {f"{kind} of {size}": saved(image, kind) for kind in kinds}
        yield from files("valid", OK, images, text=f"{size}\n")


def ways_to_send() -> Iterator[Case]:
    data, rotated = jpeg(), jpeg(exif=exif(6))
    text = base64_text(data)
    requests = {
        "body as curl's --data-binary": http(data, "application/x-www-form-urlencoded"),
        "body without a type": http(data, None),
        "body called text": http(data, "text/plain; charset=utf-16"),
        "body with a broken type": http(data, ";;;/"),
        "PUT": http(data, "image/jpeg", "PUT"),
        "chunked": chunked(data),
        "chunked by one byte": chunked(data, 1),
        "chunked form": chunked(part(data) + b"--B--\r\n", kind=MULTIPART),
        "form": form(part(data)),
        "form, image field": form(part(data, "image")),
        "form, any field": form(part(data, "\u0000 weird \u00e9")),
        "form, quoted boundary": form(part(data), kind=f'{MULTIPART[:-1]}"B"'),
        "form, text around": http(b"hi\r\n" + part(data) + b"--B--\r\nbye", MULTIPART),
        "form, long name": form(part(data, filename="a" * 10_000)),
        "form, null in name": form(part(data, filename="a\0b.jpg")),
        "form, path as name": form(part(data, filename="../../etc/passwd")),
        "form, slashes": form(part(data, filename="C:\\x\\y.jpg/")),
        "form, HTML as name": form(part(data, filename="<script>alert(1)</script>")),
        "JSON": as_json({"image": text}),
        "JSON, file": as_json({"file": text}),
        "JSON, data URI": as_json({"image": f"data:image/jpeg;base64,{text}"}),
        "JSON, odd data URI": as_json({"image": f"data:text/html;a=b;base64,{text}"}),
        "JSON, lines": as_json({"image": f"{text[:76]}\r\n{text[76:]}\n"}),
        "JSON, twice": typed(JSON, b'{"image": "", "image": "%b"}' % text.encode()),
        "JSON in UTF-16": typed(JSON, json.dumps({"image": text}).encode("utf-16")),
        "JSON, list": as_json({"image": [text]}),
        "empty part beside": form(part(b"", "note", ""), part(data)),
        "duplicate field": http(
            data, "image/jpeg", X_Forwarded_For="<>", Cookie="a" * 4000
        ),
    }
    yield from group("sent as", OK, requests, text="64 by 48\n")
    unknown = {
        "in a form": form(part(b"text", "note", None), part(data)),
        "NaN": typed(JSON, b'{"x": NaN, "image": "%b"}' % text.encode()),
        "nulls": as_json({"image": text, "a": None, "b": [], "c": {}}),
        "in a query": as_body(data).replace(b" / ", b" /?%ff=%00&a&&=%zz ", 1),
    }
    yield from group("unknown field", MALFORMED, unknown)
    yield Case("rotated by EXIF", as_body(rotated), OK, "48 by 64\n")
    both = form(part(data), part(data), part(rotated))
    yield Case("three files in one field", both, OK, "64 by 48\n" * 2 + "48 by 64\n")
    mixed = form(part(data), part(b"not an image"))
    yield Case("a valid and an invalid file", mixed, OK)


def truncated_files() -> Iterator[Case]:
    """Truncate each format at 19 places."""
    whole = seeds()
    formats = ("jpeg", "jpeg progressive", "png", "gif", "webp", "tiff lzw", "tiff RGB")
    for name in (*formats, "bmp RGB"):
        ends = {max(1, (len(whole[name]) - 10) * step // 20) for step in range(1, 20)}
        cuts = {f"{name} at {end}": whole[name][:end] for end in sorted(ends)}
        yield from files("truncated", REFUSED, cuts)
    interrupted = {}
    for name in ("jpeg", "png", "tiff deflate"):
        middle = len(whole[name]) // 2
        interrupted[name] = whole[name][:middle] + bytes(100) + whole[name][middle:]
    yield from files("zeros inserted", OK | REFUSED, interrupted)


def bombs() -> Iterator[Case]:
    """Small files that would need much memory."""
    empty = chunk(b"IDAT", zlib.compress(bytes(100_000_000), 9))
    a_megabyte, ten_megabytes = (zlib.compress(bytes(n * 10**6)) for n in (1, 10))
    headers = {
        "PNG": png_of(30_000, 30_000),
        "PNG of 2 billion by 2 billion": png_of(2**31 - 1, 2**31 - 1),
        "PNG just over": png_of(7072, 7072),
        "JPEG": resized_jpeg(65_000, 65_000),
        "JPEG progressive": resized_jpeg(65_000, 65_000, jpeg(progressive=True)),
        "GIF": gif_of((65_000, 65_000), (8, 8)),
        "GIF frame larger than its screen": gif_of((8, 8), (65_000, 65_000)),
        "BMP": bmp_of(100_000, 100_000),
        "BMP upside down": bmp_of(100_000, -100_000),
        "BMP of few runs": rle_bmp(64, 48, b"\x40\1\0\0" * 48),
        "BMP runs": rle_bmp(100_000, 100_000, b"\xff\xff" * 100),
        "TIFF": tiff_of(2**31 - 1, 2**31 - 1),
        "TIFF tiles": tiff_of(64, 48, (322, 4, 1, 2**31), (323, 4, 1, 2**31), TILES),
        "WEBP": webp_of((b"VP8X", bytes(4) + b"\xff" * 6), (b"VP8L", bytes(20))),
        "WEBP lossless": webp_of((b"VP8L", b"\x2f\xff\xff\xff\xff" + bytes(20))),
    }
    yield from files("bomb by header", TOO_LARGE | REFUSED, headers)
    texts = [chunk(b"zTXt", b"%d\0\0" % n + a_megabyte) for n in range(90)]
    contents = {
        "PNG pixels beyond its size": png_of(8, 8)[:33] + empty + chunk(b"IEND", b""),
        "PNG profile": with_chunks(chunk(b"iCCP", b"x\0\0" + ten_megabytes)),
        "PNG text": with_chunks(chunk(b"zTXt", b"x\0\0" + ten_megabytes)),
        "PNG texts": with_chunks(*texts),
        "PNG text by name": with_chunks(chunk(b"iTXt", b"x\0\1\0\0\0" + ten_megabytes)),
        "PNG frames": with_chunks(chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))),
        "TIFF strip sizes that lie": tiff_of(64, 48, (279, 4, 1, 2**32 - 1)),
        "TIFF strips that lie beyond it": tiff_of(64, 48, (273, 4, 1, 2**31)),
        "TIFF with a million strips": tiff_of(
            64, 48, (273, 4, 10**6, 8), (278, 4, 1, 1)
        ),
        "TIFF samples": tiff_of(64, 48, (277, 4, 1, 2**31)),
        "TIFF pages in a ring": directory(
            (256, 4, 1, 64), (257, 4, 1, 48), following=8
        ),
        "GIF codes": gif_of((7000, 7000), (7000, 7000), b"\xff" + bytes(255)),
        "JPEG scans": scanned(7000, 7000, 2000),
        "JPEG scans of a point": scanned(8, 8, 250_000),
        "JPEG without data": resized_jpeg(7000, 7000, jpeg(quality=1)),
        "JPEG lines that follow": resized_jpeg(64, 0),
        "zip": zipped(),
        "gzip": gzip.compress(bytes(10_000_000)),
    }
    yield from files("bomb by content", OK | TOO_LARGE | REFUSED, contents)


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.jpg", bytes(50_000_000))
    return file.getvalue()


def slow_files() -> Iterator[Case]:
    """Files near the size limit that are slow to decode or to parse."""
    comment = b"!\xfe" + b"\1a" * (BODY_SIZE // 2) + b"\0"
    images = {
        "JPEG of EXIF": with_segments(segment(225, b"Exif\0\0II") * (BODY_SIZE // 12)),
        "JPEG of empty segments": with_segments(b"\xff\xe0\0\2" * (BODY_SIZE // 4)),
        "PNG of empty chunks": with_chunks(chunk(b"aaAa", b"") * (BODY_SIZE // 12)),
        "TIFF of strips": tiff_of(64, 48, (273, 4, BODY_SIZE // 4, 8), (278, 4, 1, 1))
        + b"\1\0\0\0" * (BODY_SIZE // 4),
        "GIF of comments": gif_of((8, 8), (8, 8)).replace(b",", comment + b",", 1),
    }
    yield from files("slow", CORRUPT, images)
    line_ends = {"BMP of line ends": rle_bmp(7000, 7000, b"\0\0\1a" * 7000)}
    yield from files("slow", NO_IMAGE, line_ends)
    keys = b"".join(b', "%d": 0' % number for number in range(1_500_000))
    lists = b"[]," * (BODY_SIZE // 3)
    requests = {
        "JSON of keys": typed(JSON, b'{"image": 0%b}' % keys),
        "JSON of lists": typed(JSON, b'{"image": [%b[]]}' % lists),
    }
    yield from group("slow", TOO_LARGE, requests)
    breaks = form(part(b"\r\n--" * (BODY_SIZE // 4)))
    yield Case("slow: form of line ends", breaks, NO_IMAGE)


def other_formats() -> Iterator[Case]:
    """Files of other formats, most of them named x.jpg."""
    image = pattern()
    page = b"<!doctype html><img src=x onerror=alert('" + MARK + b"')>"
    others = {
        "HTML": page,
        "PDF": saved(image, "PDF"),
        "SVG": b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>",
        "EPS": saved(image, "EPS"),
        "PSD": b"8BPS\0\1"
        + bytes(6)
        + struct.pack(">HIIHH", 3, 48, 64, 8, 3)
        + bytes(99),
        "ICO": saved(image, "ICO"),
        "TGA": saved(image, "TGA"),
        "PPM": saved(image, "PPM"),
        "JPEG 2000": saved(image, "JPEG2000"),
        "AVIF": saved(image, "AVIF"),
        "shell script": b"#!/bin/sh\nrm -rf /tmp/" + MARK,
        "MP4": b"\0\0\0\x18ftypmp42" + bytes(100),
        "WAV": webp_of((b"fmt ", bytes(16))).replace(b"WEBP", b"WAVE"),
        "spaces": b" " * 1000,
        "nulls": bytes(1000),
        "one byte": b"\xff",
        "base64 without JSON": base64.b64encode(jpeg()),
    }
    requests = {name: form(part(data)) for name, data in others.items()}
    yield from group("other format as x.jpg", NO_IMAGE, requests)
    yield from files("other format as the body", NO_IMAGE, others)
    polyglots = {
        "JPEG and HTML": with_segments(segment(0xFE, page)),
        "JPEG and zip": jpeg() + zipped(),
        "GIF and script": saved(pattern(mode="P"), "GIF") + b"*/=1;alert(1)//",
        "PNG and PDF": png() + b"%PDF-1.4",
        "JPEG and JPEG": jpeg() + jpeg(8, 8),
    }
    yield from files("polyglot", OK, polyglots, text="64 by 48\n")


def odd_sizes() -> Iterator[Case]:
    odd = {
        "PNG 0 by 0": png_of(0, 0),
        "PNG 0 by 5": png_of(0, 5),
        "JPEG 0 by 5": resized_jpeg(0, 5),
        "GIF 0 by 0": gif_of((0, 0), (0, 0)),
        "BMP 0 by 0": bmp_of(0, 0),
        "BMP 5 by -5": bmp_of(5, -5),
        "TIFF 0 by 0": tiff_of(0, 0),
        "TIFF sizes as text": tiff_of(64, 48, (256, 2, 4, 0x34363436)),
        "WEBP without pixels": webp_of((b"VP8X", bytes(10))),
    }
    yield from files("size", REFUSED, odd)


def corrupt_files() -> Iterator[Case]:
    start, good = png()[:33], jpeg()
    frame = good.index(b"\xff\xc0")
    palette, blank = (8, 3, 0, 0, 0), bytes(999)
    broken = {
        "PNG checksum": start[:-1] + b"x" + png()[33:],
        "PNG without pixels": start + chunk(b"IEND", b""),
        "PNG colour 9": png_of(8, 8, blank, header=(8, 9, 0, 0, 0)),
        "PNG depth 3": png_of(8, 8, blank, header=(3, 2, 0, 0, 0)),
        "PNG filter 99": png_of(8, 8, b"\x63" * 200),
        "PNG not zlib": start + chunk(b"IDAT", MARK) + chunk(b"IEND", b""),
        "JPEG of 12 bits": good[: frame + 4] + b"\x0c" + good[frame + 5 :],
        "JPEG of 5 colours": good[: frame + 9] + b"\5" + good[frame + 10 :],
        "JPEG without tables": good[:2] + good[frame:],
        "JPEG only ends": b"\xff\xd8\xff\xd9",
        "GIF without frames": b"GIF89a" + bytes(7) + b";",
        "GIF code size 99": gif_of((8, 8), (8, 8)).replace(b"\x08\0;", b"\x63\0;"),
        "WEBP garbage": webp_of((b"VP8 ", MARK * 10)),
        "TIFF without tags": directory(),
        "TIFF that begins beyond its end": b"II*\0\xff\xff\xff\x7f",
        "TIFF of unknown packing": tiff_of(64, 48, (259, 3, 1, 12345)),
        "BMP of unknown packing": bmp_of(64, 48, bytes(9999), packing=77),
        "BMP header of 99 bytes": b"BM" + bytes(12) + b"\x63\0\0\0" + blank,
    }
    yield from files("corrupt", REFUSED, broken)
    images = directory((0xB001, 4, 1, 9), (0xB002, 7, 16, 8))
    odd = {
        "PNG checksum of pixels": png()[:-16] + b"abcd" + png()[-12:],
        "PNG without palette": png_of(8, 8, bytes(72), header=palette),
        "PNG short palette": png_of(
            8, 8, blank, chunk(b"PLTE", b"abc"), header=palette
        ),
        "PNG clear colour short": with_chunks(chunk(b"tRNS", b"a")),
        "PNG clear colour long": with_chunks(chunk(b"tRNS", b"a" * 999)),
        "PNG profile empty": with_chunks(chunk(b"iCCP", b"")),
        "PNG chunk names": with_chunks(chunk(b"\xff\xfe\xfd\xfc", b"")),
        "JPEG arithmetic": arithmetic(),
        "JPEG short segment": with_segments(b"\xff\xe1\0\1"),
        "JPEG odd multi-picture": with_segments(segment(0xE2, b"MPF\0" + images)),
    }
    yield from files("odd", OK | REFUSED, odd)
    xmp = b"XML:com.adobe.xmp\0\0\0\0\0\xff\xfe"
    harmless = {
        "PNG profile garbage": with_chunks(chunk(b"iCCP", b"x\0\0" + MARK)),
        "PNG XMP garbage": with_chunks(chunk(b"iTXt", xmp)),
        "JPEG empty multi-picture": with_segments(segment(0xE2, b"MPF\0")),
    }
    yield from files("harmless", OK, harmless, text="64 by 48\n")


def corrupt_exif() -> Iterator[Case]:
    """A corrupt EXIF block does not make an image invalid."""
    tag = EXIF_ORIENTATION
    blocks = {
        "nothing": b"",
        "one byte": b"I",
        "garbage": MARK * 20,
        "only a header": b"II*\0\x08\0\0\0",
        "a directory beyond the end": b"II*\0\xff\xff\xff\xff",
        "a directory at 0": b"II*\0\0\0\0\0",
        "a thousand tags that are missing": b"MM\0*\0\0\0\x08\x03\xe8",
        "orientation 0": directory((tag, 3, 1, 0)),
        "orientation 9": directory((tag, 3, 1, 9)),
        "orientation 99": directory((tag, 3, 1, 99)),
        "orientation as text": directory((tag, 2, 4, 0x36363636)),
        "orientation as a fraction": directory((tag, 5, 1, 8)),
        "orientation as 0/0": directory((tag, 5, 1, 200)) + bytes(400),
        "orientation as a float": directory((tag, 11, 1, 0x7FC00000)),
        "no orientation": directory((tag, 3, 0, 6)),
        "orientation of type 99": directory((tag, 99, 1, 6)),
        "orientation twice": directory((tag, 3, 1, 1), (tag, 3, 1, 6)),
        "a count of 4 billion": directory((tag, 3, 2**32 - 1, 8)),
        "a ring of directories": directory((0x8769, 4, 1, 8), following=8),
        "resolution of 0/0": directory((0x011A, 5, 1, 200)) + bytes(400),
    }
    for name, block in blocks.items():
        for kind, data in (
            ("JPEG", with_exif(block)),
            ("PNG", with_chunks(chunk(b"eXIf", block))),
            ("WEBP", saved(pattern(), "WEBP", exif=b"Exif\0\0" + block + b" ")),
        ):
            yield Case(f"EXIF of {name} in a {kind}", as_body(data), OK, "64 by 48\n")
    rotated = directory((tag, 3, 1, 6), (0x8769, 4, 1, 2**31), (0x010F, 2, 99, 2**31))
    yield Case(
        "valid orientation among corrupt tags",
        as_body(with_exif(rotated)),
        OK,
        "48 by 64\n",
    )


def bad_json() -> Iterator[Case]:
    text = base64_text(jpeg())
    values = {
        "a list": [text],
        "a number": 5,
        "a string": text,
        "null": None,
        "empty": {},
        "no image": {"picture": text, MARK.decode(): 1},
        "image null": {"image": None},
        "image number": {"image": 5},
        "image list of numbers": {"image": [text, 5]},
        "image object": {"image": {"data": text}},
        "not base64": {"image": MARK.decode() + "!!!"},
        "bad padding": {"image": text[:-1]},
        "not ASCII": {"image": "\u00e9" * 8},
        "half a character": {"image": "\ud800"},
        "a URL": {"image": "https://example.com/x.jpg"},
        "a path": {"image": "/etc/passwd"},
        "data URI without base64": {"image": "data:image/svg+xml,%3Csvg/%3E"},
        "data URI of nothing": {"image": "data:"},
        "two commas": {"image": f"data:image/jpeg;base64,{MARK.decode()},{text}"},
    }
    for name, value in values.items():
        yield Case(f"JSON {name}", as_json(value), MALFORMED)
    yield Case("JSON image of text", as_json({"image": base64_text(MARK)}), NO_IMAGE)
    yield Case("JSON image of spaces", as_json({"image": "  "}), MALFORMED | NO_IMAGE)
    bodies = {
        "empty body": b"",
        "cut short": b'{"image": "' + text.encode(),
        "deeply nested": b"[" * 100_000,
        "deeply nested objects": b'{"image":' * 100_000,
        "huge number": b'{"image": ' + b"9" * 100_000 + b"}",
        "huge exponent": b'{"image": 1e999999999}',
        "NaN": b"NaN",
        "not UTF-8": b'{"image": "\xff\xfe\xfd"}',
        "UTF-7": b"+AHsAIg-",
        "nulls": b'{"image": "\0"}',
        "two objects": b"{}{}",
        "a JPEG": jpeg(),
    }
    for name, body in bodies.items():
        yield Case(f"JSON {name}", typed(JSON, body), MALFORMED)


def bad_forms() -> Iterator[Case]:
    data = jpeg()
    file, head = part(data), b'--B\r\nContent-Disposition: form-data; name="file"'
    nested = b"--C\r\nContent-Disposition: attachment; filename=x\r\n\r\n%b\r\n--C--"
    mixed = b"%b\r\nContent-Type: multipart/mixed; boundary=C\r\n\r\n%b\r\n"
    start, end = head + b'; filename="x"\r\nX: ', b"\r\n\r\n%b\r\n" % data
    empty = {
        "without boundary": form(file, kind="multipart/form-data"),
        "with another boundary": form(file, kind=f"{MULTIPART}x"),
        "with an empty boundary": form(file, kind=MULTIPART[:-1]),
        "with a long boundary": form(file, kind=MULTIPART + "B" * 5000),
        "without an end": form(file, end=b""),
        "of nothing": form(),
        "of nothing at all": form(end=b""),
        "with a path for a file": form(part(MARK, "file", None)),
        "with text only": form(part(MARK, "note", None)),
        "with an empty name": form(part(data, filename="")),
        "with multipart/mixed in it": form(mixed % (head, nested % data)),
        "without disposition": form(b"--B\r\n\r\n%b\r\n" % data),
        "with a broken header": form(b"--B\r\n\xff: \0\r\n:\r\n\r\n%b\r\n" % data),
    }
    yield from group("form", MALFORMED, empty)
    large = {
        "of 1,000 parts": form(*[file] * 1000),
        "of 1,000 fields": form(*[part(b"x", "a", None)] * 1000),
        "with a field of 1 MB": form(part(b"x" * 10**6, "note", None), file),
        "with a header of 1 MB": form(start + b"a" * 10**6 + end),
    }
    yield from group("form", TOO_LARGE, large)
    odd = {
        "with a header of 300 kB": form(start + b"a" * 300_000 + end),
        "with 50,000 headers": form(start + b"a\r\nX: " * 50_000 + end),
    }
    yield from group("form", OK | MALFORMED | TOO_LARGE, odd)
    no_images = {
        "with an empty file": form(part(b"")),
        "with text called a file": form(part(MARK)),
        "that is urlencoded": typed(
            "application/x-www-form-urlencoded", b"file=" + MARK
        ),
    }
    yield from group("form", NO_IMAGE, no_images)


def bad_http() -> Iterator[Case]:
    data = jpeg()
    request, chunks = as_body(data), chunked(data)
    for method in ("DELETE", "PATCH", "BREW"):
        yield Case(f"method {method}", http(data, None, method), {405})
    for method in ("OPTIONS", "HEAD"):
        yield Case(f"method {method}", http(data, None, method), OK)
    yield Case("wrong path", request.replace(b" / ", b" /%s " % MARK, 1), {404})
    odd = {
        "host": http(data, None, Host="a b<>"),
        "accept": http(data, None, Accept=";q=x,,*/;q=9"),
        "request id": http(data, None, X_Request_Id=f"<{MARK.decode()}>"),
    }
    yield from group("odd", OK, odd)
    unread = {
        "body beyond its length": http(data, None, Content_Length=100),
        "gzip": http(gzip.compress(data), None, Content_Encoding="gzip"),
    }
    yield from group("misread", REFUSED, unread)
    bodies = {
        "empty": http(b"", None),
        "missing": http(b"", None, Content_Length=None),
        "of no chunks": chunked(b""),
        "of a chunk of no size": chunks.replace(b"\r\n\r\n", b"\r\n\r\nxyz", 1),
        "of a chunk of negative size": chunks.replace(b"\r\n\r\n", b"\r\n\r\n-", 1),
        "of a chunk without its end": chunked(data, 100).replace(
            b"\n64\r", b"\n60\r", 1
        ),
    }
    yield from group("body", MALFORMED, bodies)
    short = {
        "short of its length": http(data, None, Content_Length=len(data) + 100),
        "short of its last chunk": chunks[:-20],
    }
    yield from group("body", MALFORMED, short, half_closes=True)
    # The form is complete, but its client seems to have disconnected.
    long = form(part(data)).replace(b"th: ", b"th: 9", 1)
    yield Case("form short of its length", long, MALFORMED | {499}, half_closes=True)
    absurd = http(data, None, Content_Length=10**30)
    yield Case("length absurd", absurd, TOO_LARGE, half_closes=True)


def malformed_http() -> Iterator[Case]:
    """Requests that gunicorn refuses before they reach the app."""
    data = jpeg()
    head = b"Content-Length: 5\r\n"
    malformed = {
        "length negative": http(data, None, Content_Length=-1),
        "length not a number": http(data, None, Content_Length="0x10"),
        "two lengths": http(data, None).replace(b"Host", head + b"Host", 1),
        "length and chunks": http(data, None, Transfer_Encoding="chunked"),
        "null in a header": http(data, None, X="a\0b"),
        "TLS": b"\x16\x03\x01" + bytes(50) + b"\r\n\r\n",
        "no method": b" / HTTP/1.1\r\n\r\n",
        "old HTTP": b"POST / HTTP/0.9\r\n\r\n",
    }
    yield from group("malformed", MALFORMED, malformed, reaches_app=False)
    rot13 = {"Content_Length": None, "Transfer_Encoding": "rot13"}
    others = (
        (414, b"GET /%b HTTP/1.1\r\n\r\n" % (b"a" * 9000)),
        (417, http(data, None, Expect="magic")),
        (431, http(data, None, X="a" * 9000)),
        (431, http(data, None, **{f"X{number}": 1 for number in range(200)})),
        (501, http(data, None, **rot13)),  # as RFC 9112, 6.1 wants it
    )
    for number, (status, request) in enumerate(others):
        yield Case(
            f"malformed for {status}, {number}", request, {status}, reaches_app=False
        )


GROUPS = (
    valid_images,
    ways_to_send,
    truncated_files,
    bombs,
    slow_files,
    other_formats,
    odd_sizes,
    corrupt_files,
    corrupt_exif,
    bad_json,
    bad_forms,
    bad_http,
    malformed_http,
)
