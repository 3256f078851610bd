import com.pixelmed.validate.DicomSRValidator;

/** PixelMed's validator over many files: its rules take longer to load than a report to check. */
public class SrValidator {
    public static void main(String[] files) throws Exception {
        DicomSRValidator validator = new DicomSRValidator();
        for (String file : files) {
            System.out.println("== " + file);
            System.out.println(validator.validate(file));
        }
    }
}
